module github.com/patchbay-run/patchbay/sdk/go

go 1.24
