// Streams an answer over HTTP with nothing but Go's standard library, and goes on where it was when the connection is lost or
// the server restarts:
//
//	go run . http://127.0.0.1:8000 "Write 500 words about the sea." [MAX_TOKENS]
package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

const patience = time.Minute

type chunk struct {
	Choices []struct {
		Delta struct {
			Content string `json:"content"`
		} `json:"delta"`
	} `json:"choices"`
	Error *struct {
		Message string `json:"message"`
	} `json:"error"`
}

type stream struct {
	url    string
	body   []byte // of the request, which carries its id
	id     string
	lastID string // of the last event seen; empty: none
}

// refused is an answer that asking again would not change.
type refused struct{ error }

// open asks for the answer, or for what follows the last event of it.
func (s *stream) open() (*http.Response, error) {
	request, err := http.NewRequest("POST", s.url+"/v1/chat/completions", bytes.NewReader(s.body))
	if s.lastID != "" {
		request, err = http.NewRequest("GET", s.url+"/v1/streams/"+s.id, nil)
	}
	if err != nil {
		return nil, refused{err}
	}
	request.Header.Set("Content-Type", "application/json")
	if s.lastID != "" {
		request.Header.Set("Last-Event-ID", s.lastID)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		defer response.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(response.Body, 4096))
		err = fmt.Errorf("%s: %s", response.Status, text)
		if response.StatusCode == http.StatusServiceUnavailable || response.StatusCode == http.StatusTooManyRequests {
			return nil, err
		}
		return nil, refused{err}
	}
	return response, nil
}

// read prints what comes; nil at [DONE].
func (s *stream) read(body io.Reader) error {
	lines := bufio.NewReader(body)
	id := ""
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return err
		}
		line = strings.TrimRight(line, "\n")
		if value, found := strings.CutPrefix(line, "id: "); found {
			id = value
			continue
		}
		data, found := strings.CutPrefix(line, "data: ")
		if !found {
			continue
		}
		if data == "[DONE]" {
			return nil
		}
		var event chunk
		if err := json.Unmarshal([]byte(data), &event); err != nil {
			return refused{err}
		}
		if event.Error != nil {
			return errors.New(event.Error.Message)
		}
		for _, choice := range event.Choices {
			fmt.Print(choice.Delta.Content)
		}
		s.lastID = id
	}
}

func (s *stream) run() error {
	lastProgress := time.Now()
	for {
		seen := s.lastID
		response, err := s.open()
		if err == nil {
			err = s.read(response.Body)
			response.Body.Close()
		}
		if err == nil {
			return nil
		}
		if s.lastID != seen {
			lastProgress = time.Now()
		}
		if errors.As(err, &refused{}) || time.Since(lastProgress) > patience {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: go run . URL PROMPT [MAX_TOKENS]")
		os.Exit(2)
	}
	maxTokens := 512
	if len(os.Args) > 3 {
		maxTokens, _ = strconv.Atoi(os.Args[3])
	}
	random := make([]byte, 16)
	if _, err := rand.Read(random); err != nil {
		panic(err)
	}
	id := "go-" + hex.EncodeToString(random)
	body, err := json.Marshal(map[string]any{
		"messages":   []map[string]string{{"role": "user", "content": os.Args[2]}},
		"max_tokens": maxTokens, "stream": true, "request_id": id, "seed": 1,
	})
	if err != nil {
		panic(err)
	}
	answer := stream{url: strings.TrimRight(os.Args[1], "/"), body: body, id: id}
	if err := answer.run(); err != nil {
		fmt.Fprintln(os.Stderr, "\nstream:", err)
		os.Exit(1)
	}
	fmt.Println()
}
