// Package driver is the loop that the Go programs share: a request a line in, an answer a line out.
package driver

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
)

// Record is a record as the harness writes and compares it; bytes are base64 in JSON, and nil is null.
type Record struct {
	Key       *[]byte      `json:"key"`
	Value     *[]byte      `json:"value"`
	Headers   [][2]*string `json:"headers"`
	Timestamp *int64       `json:"timestamp"`
	Offset    int64        `json:"offset"`
}

// Request holds the arguments of every verb.
type Request struct {
	Verb         string             `json:"verb"`
	Name         string             `json:"name"`
	Topic        string             `json:"topic"`
	Partition    int32              `json:"partition"`
	Partitions   *int32             `json:"partitions"`
	Records      []Record           `json:"records"`
	Codec        string             `json:"codec"`
	Acks         *int16             `json:"acks"`
	Idempotent   bool               `json:"idempotent"`
	MaxRequest   int32              `json:"max_request"`
	Offset       int64              `json:"offset"`
	Count        int                `json:"count"`
	At           any                `json:"at"`
	Before       int64              `json:"before"`
	Configs      map[string]*string `json:"configs"`
	Changes      map[string]*string `json:"changes"`
	Incremental  *bool              `json:"incremental"`
	ValidateOnly bool               `json:"validate_only"`
}

// Answer is what a verb returns.
type Answer map[string]any

// Unsupported is the error of a verb that the client does not have.
type Unsupported string

func (reason Unsupported) Error() string { return string(reason) }

// Bytes is what a pointer leads to, nil for null; an empty slice stays one.
func Bytes(data *[]byte) []byte {
	if data == nil {
		return nil
	}
	if *data == nil {
		return []byte{}
	}
	return *data
}

// Pointer is null for nil and bytes for everything else.
func Pointer(data []byte) *[]byte {
	if data == nil {
		return nil
	}
	return &data
}

// PartitionCount is the number of partitions asked for, one unless said.
func (request Request) PartitionCount() int32 {
	if request.Partitions == nil {
		return 1
	}
	return *request.Partitions
}

// AcksOrAll is the acknowledgement level asked for, all unless said.
func (request Request) AcksOrAll() int16 {
	if request.Acks == nil {
		return -1
	}
	return *request.Acks
}

// IsIncremental is whether an alteration leaves what it does not name.
func (request Request) IsIncremental() bool {
	return request.Incremental == nil || *request.Incremental
}

// Serve answers until standard input ends. `code` tells the protocol's number of an error, or nil.
func Serve(handle func(Request) (Answer, error), code func(error) *int16) {
	input := bufio.NewReaderSize(os.Stdin, 1<<20)
	for {
		line, err := input.ReadBytes('\n')
		if err != nil {
			return
		}
		var request Request
		if err := json.Unmarshal(line, &request); err != nil {
			panic(err)
		}
		out, err := json.Marshal(answer(request, handle, code))
		if err != nil {
			panic(err)
		}
		fmt.Println(string(out))
	}
}

func answer(request Request, handle func(Request) (Answer, error), code func(error) *int16) Answer {
	ok, err := handle(request)
	if reason, is := err.(Unsupported); is {
		return Answer{"unsupported": string(reason)}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return Answer{"error": Answer{"code": code(err), "name": fmt.Sprintf("%T", err), "message": err.Error()}}
	}
	if ok == nil {
		ok = Answer{}
	}
	return Answer{"ok": ok}
}

// Version is the version of a module that the program was built with.
func Version(module string) string {
	info, _ := debug.ReadBuildInfo()
	for _, one := range info.Deps {
		if one.Path == module {
			return one.Version
		}
	}
	return "unknown"
}
