// Command patchbay serves web search, chat and models through sandboxed plugins, and helps to build them.
package main

import "os"

func main() { os.Exit(run(os.Args[1:], os.Environ(), os.Stdout, os.Stderr)) }
