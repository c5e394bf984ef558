// franz-go, writing steadily until standard input ends: see harness/failover.py.
package main

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	topic := os.Args[2]
	partitions, _ := strconv.Atoi(os.Args[3])
	rate, _ := strconv.ParseFloat(os.Args[4], 64)
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(os.Args[1], ",")...),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RecordDeliveryTimeout(time.Minute))
	if err != nil {
		panic(err)
	}
	stop := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(stop)
	}()
	var lock sync.Mutex
	acked, failed := [][4]int64{}, [][3]any{}
	number, began := 0, time.Now()
	for running := true; running; {
		select {
		case <-stop:
			running = false
		case <-time.After(time.Millisecond):
		}
		for ; float64(number) < time.Since(began).Seconds()*rate; number++ {
			partition, sequence := number%partitions, number/partitions
			record := &kgo.Record{Topic: topic, Partition: int32(partition), Value: []byte(strconv.Itoa(sequence))}
			client.Produce(context.Background(), record, func(record *kgo.Record, err error) {
				lock.Lock()
				defer lock.Unlock()
				if err != nil {
					failed = append(failed, [3]any{partition, sequence, err.Error()})
					return
				}
				acked = append(acked, [4]int64{int64(partition), int64(sequence), record.Offset, time.Now().UnixMilli()})
			})
		}
	}
	client.Flush(context.Background())
	json.NewEncoder(os.Stdout).Encode(map[string]any{
		"written": number, "left": 0, "acked": acked, "errors": failed})
}
