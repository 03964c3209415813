package main

import (
	"crypto/sha256"
	"encoding/binary"
	"io"
	"log"
	"net"
	"strconv"
	"time"

	"github.com/hashicorp/yamux"
)

// The bytes that `generate` sends and a reader can check anywhere.
func pattern(p []byte, at uint64) {
	for i := range p {
		x := at + uint64(i)
		p[i] = byte(x ^ x>>8 ^ x>>16)
	}
}

func generate(s io.Writer, n uint64) error {
	var p [16384]byte
	for at := uint64(0); at < n; {
		k := uint64(len(p))
		if k > n-at {
			k = n - at
		}
		pattern(p[:k], at)
		if _, err := s.Write(p[:k]); err != nil {
			return err
		}
		at += k
	}
	return nil
}

// One stream of the peer's. Its first byte says what to do:
//
//	E  echo until its end, then end
//	S  read to its end, then answer the count (8 bytes, big-endian) and the SHA-256
//	G  8 bytes more, big-endian: send as many of the pattern, then end
//	H  read nothing for a second, then as S
//	A  send GoAway, then as E
//	P  ping the peer, answer "pong", then end
func behave(session *yamux.Session, s net.Conn) {
	var what [1]byte
	defer s.Close()
	if _, err := io.ReadFull(s, what[:]); err != nil {
		return
	}
	switch what[0] {
	case 'E':
		io.Copy(s, s)
	case 'H':
		time.Sleep(time.Second)
		fallthrough
	case 'S':
		h := sha256.New()
		n, err := io.Copy(h, s)
		if err != nil {
			log.Printf("sink: %v", err)
			return
		}
		binary.Write(s, binary.BigEndian, uint64(n))
		s.Write(h.Sum(nil))
	case 'G':
		var n uint64
		if binary.Read(s, binary.BigEndian, &n) == nil {
			if err := generate(s, n); err != nil {
				log.Printf("generate: %v", err)
			}
		}
	case 'A':
		session.GoAway()
		io.Copy(s, s)
	case 'P':
		if _, err := session.Ping(); err == nil {
			s.Write([]byte("pong"))
		}
	}
}

// What a tunnel leads to: a stream's behaviours on plain connections.
func programs(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go behave(nil, conn)
	}
}

// Serves one connection after another. With a backlog nothing is accepted, so
// what is opened beyond it is reset.
func serve(l net.Listener, args []string) {
	c := config()
	refuse := len(args) == 2 && args[0] == "backlog"
	if refuse {
		n, err := strconv.Atoi(args[1])
		if err != nil {
			usage()
		}
		c.AcceptBacklog = n
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			log.Fatal(err)
		}
		session, err := yamux.Server(conn, c)
		if err != nil {
			log.Fatal(err)
		}
		if refuse {
			continue
		}
		go func() {
			for {
				s, err := session.Accept()
				if err != nil {
					return
				}
				go behave(session, s)
			}
		}()
	}
}
