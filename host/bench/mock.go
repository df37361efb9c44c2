package main

import (
	"bufio"
	"fmt"
	"net"
	"time"
)

// chatDelay is how long the mock thinks about a chat of the HTTP section.
const chatDelay = 20 * time.Millisecond

const chatAnswer = `{"id":"chatcmpl-1","object":"chat.completion","created":1760000000,"model":"m","choices":[{"index":0,` +
	`"message":{"role":"assistant","content":"the answer is 42"},"finish_reason":"stop"}],` +
	`"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}`

// mock is the upstream: whatever it is sent, it answers with one chat, after a delay.
func mock(address, after string) error {
	delay, err := time.ParseDuration(after)
	if err != nil {
		return fmt.Errorf("start the mock: %w", err)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("start the mock: %w", err)
	}
	answer := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(chatAnswer), chatAnswer)
	for {
		conn, err := listener.Accept()
		if err != nil {
			return fmt.Errorf("run the mock: %w", err)
		}
		go func() {
			defer conn.Close()
			r := bufio.NewReader(conn)
			for {
				if _, _, err := readMessage(r); err != nil {
					return
				}
				time.Sleep(delay)
				if _, err := conn.Write(answer); err != nil {
					return
				}
			}
		}()
	}
}
