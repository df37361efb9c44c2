module github.com/patchbay-run/patchbay/plugins

go 1.24

require github.com/patchbay-run/patchbay/sdk/go v0.0.0

replace github.com/patchbay-run/patchbay/sdk/go => ../sdk/go
