package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The net server in Go; README.md of bench/peers says what it has to do. A connection is a goroutine,
// GOMAXPROCS the number of workers.

const (
	backlog    = 4096
	httpBuffer = 4096
	echoBuffer = 65536
	maxUsec    = 10_000_000
)

var (
	answer = []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\n" +
		"Hello, World!")
	headEnd     = []byte("\r\n\r\n")
	closePath   = []byte("/close")
	computePath = []byte("/compute/")
)

// ---- http ----

// What the compiler must not leave out.
//
//go:noinline
func use(uint64) {}

// compute does rounds of xorshift64, spin for each microsecond.
func compute(digits []byte, spin uint64) {
	usec := uint64(0)
	for _, digit := range digits {
		if digit < '0' || digit > '9' {
			break
		}
		usec = min(usec*10+uint64(digit-'0'), maxUsec)
	}
	x := uint64(88172645463325252)
	for i := usec * spin; i > 0; i-- {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	use(x)
}

// obey does what the path of a request asks for.
func obey(request []byte, spin uint64) (answered, goesOn bool) {
	space := bytes.IndexByte(request, ' ')
	if space < 0 {
		return false, false
	}
	path := request[space+1:]
	space = bytes.IndexByte(path, ' ')
	if space <= 0 {
		return false, false
	}
	path = path[:space]
	if bytes.Equal(path, closePath) {
		return true, false
	}
	if bytes.HasPrefix(path, computePath) {
		compute(path[len(computePath):], spin)
	}
	return true, true
}

func serveHTTP(conn *net.TCPConn, spin uint64) {
	defer conn.Close()
	in := make([]byte, httpBuffer)
	out := make([]byte, 0, httpBuffer)
	used := 0
	for {
		n, err := conn.Read(in[used:])
		if n == 0 && err != nil {
			return
		}
		used += n
		parsed := 0
		for goesOn := true; goesOn; {
			end := bytes.Index(in[parsed:used], headEnd)
			if end < 0 {
				break
			}
			if cap(out)-len(out) < len(answer) {
				if _, err := conn.Write(out); err != nil {
					return
				}
				out = out[:0]
			}
			end += parsed + len(headEnd)
			var answered bool
			answered, goesOn = obey(in[parsed:end], spin)
			if answered {
				out = append(out, answer...)
			}
			parsed = end
			if !goesOn {
				conn.Write(out)
				return
			}
		}
		if len(out) > 0 {
			if _, err := conn.Write(out); err != nil {
				return
			}
			out = out[:0]
		}
		used = copy(in, in[parsed:used])
		if used == len(in) {
			return
		}
	}
}

// ---- echo ----

func serveEcho(conn *net.TCPConn) {
	defer conn.Close()
	buffer := make([]byte, echoBuffer)
	for {
		n, err := conn.Read(buffer)
		if n == 0 && err != nil {
			return
		}
		if _, err := conn.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// ---- The server ----

// listen opens the listener as the other servers do: plain TCP, and no keep-alive, which would cost
// system calls for each connection. (TCP_NODELAY costs one: Go sets it on each, asked or not.) The
// backlog is told by a second listen(2), since the first one takes it from the system.
func listen(port uint64) *net.TCPListener {
	config := net.ListenConfig{KeepAlive: -1}
	config.SetMultipathTCP(false)
	listener, err := config.Listen(context.Background(), "tcp4",
		"127.0.0.1:"+strconv.FormatUint(port, 10))
	if err != nil {
		fail("%v", err)
	}
	tcp := listener.(*net.TCPListener)
	raw, err := tcp.SyscallConn()
	if err == nil {
		raw.Control(func(fd uintptr) { err = syscall.Listen(int(fd), backlog) })
	}
	if err != nil {
		fail("%v", err)
	}
	return tcp
}

// endWithCaller ends the process on SIGTERM, and at the end of standard input.
func endWithCaller() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	signal.Ignore(syscall.SIGPIPE)
	go func() {
		<-signals
		os.Exit(0)
	}()
	go func() {
		bytes := make([]byte, 64)
		for {
			if n, _ := os.Stdin.Read(bytes); n <= 0 {
				os.Exit(0)
			}
		}
	}()
}

func serveNet(arguments []string) {
	flags := flag.NewFlagSet("skua-peer-go net", flag.ExitOnError)
	serve := flags.String("serve", "", "http or echo")
	workers := flags.Uint64("workers", uint64(runtime.NumCPU()), "GOMAXPROCS")
	spin := flags.Uint64("spin", 300, "rounds of computing for each microsecond")
	port := flags.Uint64("port", 0, "port; 0: any")
	about := flags.Bool("about", false, "say what this is")
	flags.Bool("lean", false, "ignored: Go cannot wait without a buffer")
	flags.Parse(arguments)
	if *about {
		version := runtime.Version()
		fmt.Printf("{\"program\": \"go\", \"version\": %q, \"language\": %q}\n",
			strings.TrimPrefix(version, "go"), version)
		return
	}
	if flags.NArg() > 0 || (*serve != "http" && *serve != "echo") {
		refuse("expected net --serve=http or net --serve=echo")
	}
	if *workers < 1 || *workers > 512 || *spin < 1 || *spin > 1_000_000 || *port > 65535 {
		refuse("--workers, --spin, --port: out of range")
	}

	runtime.GOMAXPROCS(int(*workers))
	endWithCaller()
	listener := listen(*port)
	fmt.Printf("listening on %v\n", listener.Addr())
	for {
		conn, err := listener.AcceptTCP()
		if err != nil {
			// Out of descriptors, most likely: no spinning until there are some.
			time.Sleep(time.Millisecond)
			continue
		}
		if *serve == "echo" {
			go serveEcho(conn)
		} else {
			go serveHTTP(conn, *spin)
		}
	}
}
