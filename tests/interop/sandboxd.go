package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/gorilla/websocket"
	"github.com/hashicorp/yamux"
)

// What the scenarios expect of their peer, as a program inside a sandbox.
const program = `
import socket, socketserver, struct
class H(socketserver.BaseRequestHandler):
    def handle(self):
        data = self.request.recv(1 << 18)
        if data[:1] == b"R":
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.request.close()
            return
        while data:
            self.request.sendall(data)
            data = self.request.recv(1 << 18)
class S(socketserver.ThreadingTCPServer):
    request_queue_size = 100
    daemon_threads = True
S(("127.0.0.1", 5000), H).serve_forever()
`

// Connections through a tunnel: version and port, and a byte that answers.
type through struct{ *yamux.Session }

func (t through) Open() (net.Conn, error) {
	s, err := t.Session.Open()
	if err != nil {
		return nil, err
	}
	if _, err = s.Write([]byte{1, 5000 >> 8, 5000 & 255}); err != nil {
		return nil, err
	}
	var answer [1]byte
	if _, err = io.ReadFull(s, answer[:]); err != nil {
		return nil, err
	}
	if answer[0] != 0 {
		return nil, fmt.Errorf("the tunnel answers %d", answer[0])
	}
	return s, nil
}

func key() http.Header {
	return http.Header{"X-Api-Key": {os.Getenv("LANGSMITH_API_KEY")}, "Content-Type": {"application/json"}}
}

func post(url string, body, answer interface{}) error {
	text, _ := json.Marshal(body)
	request, err := http.NewRequest("POST", url, bytes.NewReader(text))
	if err != nil {
		return err
	}
	request.Header = key()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode >= 300 {
		return fmt.Errorf("POST %s: %s", url, response.Status)
	}
	return json.NewDecoder(response.Body).Decode(answer)
}

func prepare() (string, error) {
	var box struct {
		URL string `json:"dataplane_url"`
	}
	var ran struct{}
	base := strings.TrimSuffix(os.Getenv("LANGSMITH_ENDPOINT"), "/") + "/v2/sandboxes/boxes"
	if err := post(base, map[string]bool{"wait_for_ready": true}, &box); err != nil {
		return "", err
	}
	command := map[string]string{"command": "setsid python3 -c '" + program + "' >/dev/null 2>&1 &"}
	return box.URL, post(box.URL+"/execute", command, &ran)
}

func open(url string) (through, error) {
	ws, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(url, "http")+"/tunnel", key())
	if err != nil {
		return through{}, err
	}
	session, err := yamux.Client(&wire{ws: ws}, config())
	return through{session}, err
}

func ready(url string) error {
	t, err := open(url)
	if err != nil {
		return err
	}
	defer t.Session.Close()
	for i := 0; i < 400; i++ {
		if err = ping(t); err != nil {
			return err
		}
		s, err := t.Open()
		if err == nil {
			return s.Close()
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("the program does not listen")
}

// Plays the scenarios through a tunnel of sandboxd. Not "window": sockets on the
// way hold bytes, too.
func sandboxd() {
	url, err := prepare()
	if err == nil {
		err = ready(url)
	}
	if err != nil {
		log.Fatal(err)
	}
	names := []string{"many", "reset", "goaway", "ping", "bulk"}
	for _, name := range names {
		t, err := open(url)
		if err == nil {
			err = scenarios[name](t)
		}
		if err != nil {
			log.Fatalf("%s: %v", name, err)
		}
		fmt.Println("ok", name)
		t.Session.Close()
	}
	fmt.Printf("%d passed, 0 failed\n", len(names))
}
