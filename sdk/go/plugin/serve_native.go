//go:build !wasip1

package plugin

// serve does nothing: natively there is no host, and plugintest is given setup itself.
func serve(func(*Plugin) error) {}
