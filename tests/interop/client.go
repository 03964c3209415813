package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/yamux"
)

// A session, or a tunnel that a session is inside of.
type opener interface {
	Open() (net.Conn, error)
	GoAway() error
	Ping() (time.Duration, error)
}

// A stream closed here reads its end as soon as nothing lies in its buffer, so
// what is to be read is read before. What the peer, in the server role, does
// with each stream: echo it until its end and end too; reset it when its first byte is 'R'; for 'H' read nothing
// more until the next stream is opened, then go on.
func echo(session opener, n int) error {
	s, err := session.Open()
	if err != nil {
		return err
	}
	sent := make([]byte, n)
	pattern(sent, uint64(n))
	sent[0] = 'E'
	failed := make(chan error, 1)
	go func() {
		_, err := s.Write(sent)
		failed <- err
	}()
	got := make([]byte, n)
	if _, err := io.ReadFull(s, got); err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if err := <-failed; err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if !bytes.Equal(sent, got) {
		return errors.New("the echo differs")
	}
	return s.Close()
}

func many(session opener) error {
	var group sync.WaitGroup
	errs := make(chan error, 64)
	for i := 0; i < 64; i++ {
		group.Add(1)
		go func(n int) {
			defer group.Done()
			if err := echo(session, n); err != nil {
				errs <- fmt.Errorf("stream of %d bytes: %w", n, err)
			}
		}(1 + i*i*300)
	}
	group.Wait()
	close(errs)
	return <-errs
}

func reset(session opener) error {
	s, err := session.Open()
	if err != nil {
		return err
	}
	if _, err = s.Write([]byte{'R'}); err != nil {
		return err
	}
	var p [1]byte
	if _, err = s.Read(p[:]); err != yamux.ErrConnectionReset {
		return fmt.Errorf("a reset stream reads %v", err)
	}
	return echo(session, 1000)
}

// Nothing beyond the window may be sent while the peer does not read.
func window(session opener) error {
	s, err := session.Open()
	if err != nil {
		return err
	}
	if _, err = s.Write([]byte{'H'}); err != nil {
		return err
	}
	s.SetWriteDeadline(time.Now().Add(time.Second))
	n, err := s.Write(make([]byte, 4<<20))
	if err != yamux.ErrTimeout {
		return fmt.Errorf("4 MiB to a peer that does not read: %d bytes, %v", n, err)
	}
	if n+1 > 256<<10 {
		return fmt.Errorf("the peer gave credit for %d bytes that it did not read", n)
	}
	if err = echo(session, 1000); err != nil {
		return fmt.Errorf("beside a blocked stream: %w", err)
	}
	s.SetWriteDeadline(time.Time{})
	echoed := make(chan error, 1)
	go func() {
		_, err := io.CopyN(io.Discard, s, int64(n+1+1<<20))
		echoed <- err
	}()
	if _, err = s.Write(make([]byte, 1<<20)); err != nil {
		return fmt.Errorf("after the peer read again: %w", err)
	}
	return <-echoed
}

func goAway(session opener) error {
	s, err := session.Open()
	if err != nil {
		return err
	}
	if _, err = s.Write([]byte{'E'}); err != nil {
		return err
	}
	var p [1]byte
	if _, err = io.ReadFull(s, p[:]); err != nil {
		return err
	}
	if err = session.GoAway(); err != nil {
		return err
	}
	// The live stream drains.
	if _, err = s.Write([]byte("last")); err != nil {
		return err
	}
	var last [4]byte
	if _, err := io.ReadFull(s, last[:]); err != nil || string(last[:]) != "last" {
		return fmt.Errorf("a live stream after GoAway: %q, %v", last, err)
	}
	return s.Close()
}

func ping(session opener) error {
	for i := 0; i < 10; i++ {
		if _, err := session.Ping(); err != nil {
			return err
		}
	}
	return nil
}

func bulk(session opener) error {
	s, err := session.Open()
	if err != nil {
		return err
	}
	const n = 1 << 30
	go func() {
		s.Write([]byte{'E'})
		generate(s, n-1)
	}()
	if got, err := io.CopyN(io.Discard, s, n); err != nil {
		return fmt.Errorf("%d bytes came back, %v", got, err)
	}
	return s.Close()
}

var scenarios = map[string]func(opener) error{
	"many": many, "reset": reset, "window": window, "goaway": goAway, "ping": ping, "bulk": bulk,
}

// Plays the scenario on the first connection and ends with its verdict.
func connect(l net.Listener, name string) {
	scenario := scenarios[name]
	if scenario == nil {
		usage()
	}
	conn, err := l.Accept()
	if err != nil {
		log.Fatal(err)
	}
	session, err := yamux.Client(conn, config())
	if err != nil {
		log.Fatal(err)
	}
	if err := scenario(session); err != nil {
		log.Fatalf("%s: %v", name, err)
	}
	fmt.Println("passed")
	session.Close()
	os.Exit(0)
}
