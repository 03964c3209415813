// The other side of the interop tests: github.com/hashicorp/yamux as it is in
// Debian, in either role on a plain connection, and as a sandbox's tunnel
// daemon behind a WebSocket, with a program to be reached through it. It listens on a free port of 127.0.0.1, says
// "listening PORT" and ends when its standard input does.
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"time"

	"github.com/hashicorp/yamux"
)

func config() *yamux.Config {
	c := yamux.DefaultConfig()
	c.ConnectionWriteTimeout = 60 * time.Second
	return c
}

func listen() net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listening %d\n", l.Addr().(*net.TCPAddr).Port)
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	return l
}

func usage() {
	log.Fatal("usage: interop server [backlog N] | client SCENARIO | daemon | tcp | sandboxd")
}

func main() {
	log.SetFlags(0)
	if len(os.Args) < 2 {
		usage()
	}
	switch os.Args[1] {
	case "server":
		serve(listen(), os.Args[2:])
	case "client":
		if len(os.Args) != 3 {
			usage()
		}
		connect(listen(), os.Args[2])
	case "daemon":
		daemon(listen())
	case "sandboxd":
		sandboxd()
	case "tcp":
		programs(listen())
	default:
		usage()
	}
}
