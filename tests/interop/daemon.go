package main

import (
	"encoding/binary"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"

	"github.com/gorilla/websocket"
	"github.com/hashicorp/yamux"
)

// A WebSocket's binary messages as one stream of bytes.
type wire struct {
	ws   *websocket.Conn
	rest io.Reader
}

func (w *wire) Read(p []byte) (int, error) {
	for {
		if w.rest == nil {
			kind, r, err := w.ws.NextReader()
			if err != nil {
				return 0, err
			}
			if kind != websocket.BinaryMessage {
				log.Printf("a message of type %d", kind)
				return 0, io.ErrUnexpectedEOF
			}
			w.rest = r
		}
		n, err := w.rest.Read(p)
		if err == io.EOF {
			w.rest = nil
			err = nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (w *wire) Write(p []byte) (int, error) {
	if err := w.ws.WriteMessage(websocket.BinaryMessage, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (w *wire) Close() error { return w.ws.Close() }

type halfCloser interface{ CloseWrite() error }

// Both directions. The peer's half may end first; ours is the end of both, since
// a stream closed here is read no further.
func relay(stream, dialled net.Conn) {
	done := make(chan bool)
	go func() {
		io.Copy(dialled, stream)
		dialled.(halfCloser).CloseWrite()
		done <- true
	}()
	io.Copy(stream, dialled)
	stream.Close() // yamux: our half
	<-done
	dialled.Close()
}

// One connection: version, port, then one byte of answer. Port 1 is not
// allowed here, and port 2 ends the session.
func tunnel(session *yamux.Session, stream net.Conn) {
	var hello [3]byte
	if _, err := io.ReadFull(stream, hello[:]); err != nil {
		stream.Close()
		return
	}
	port := binary.BigEndian.Uint16(hello[1:])
	answer := byte(0)
	var dialled net.Conn
	switch {
	case hello[0] != 1:
		answer = 3
	case port == 1:
		answer = 1
	case port == 2:
		session.Close()
		return
	default:
		var err error
		if dialled, err = net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port)))); err != nil {
			answer = 2
		}
	}
	stream.Write([]byte{answer})
	if answer != 0 {
		stream.Close()
		return
	}
	relay(stream, dialled)
}

func daemon(l net.Listener) {
	upgrader := websocket.Upgrader{ReadBufferSize: 65536, WriteBufferSize: 65536}
	http.HandleFunc("/tunnel", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Api-Key") != "interop" || r.Header.Get("X-Default") != "sent" {
			http.Error(w, `{"detail":"the key or the default header is missing"}`, http.StatusUnauthorized)
			return
		}
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		session, err := yamux.Server(&wire{ws: ws}, config())
		if err != nil {
			log.Fatal(err)
		}
		for {
			stream, err := session.Accept()
			if err != nil {
				return
			}
			go tunnel(session, stream)
		}
	})
	log.Fatal(http.Serve(l, nil))
}
