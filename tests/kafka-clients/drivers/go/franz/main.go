// The program that drives franz-go: its producer, direct consumption, and kadm.
package main

import (
	"context"
	"encoding/base64"
	"errors"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"highwater.invalid/kafka-clients/driver"
)

var bootstrap = os.Args[1]

var codecs = map[string]kgo.CompressionCodec{
	"": kgo.NoCompression(), "none": kgo.NoCompression(), "gzip": kgo.GzipCompression(),
	"snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

func main() {
	driver.Serve(handle, func(err error) *int16 {
		var known *kerr.Error
		if errors.As(err, &known) {
			return &known.Code
		}
		return nil
	})
}

func handle(request driver.Request) (driver.Answer, error) {
	patience, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	switch request.Verb {
	case "hello":
		return driver.Answer{"client": "franz-go", "version": driver.Version("github.com/twmb/franz-go"),
			"cannot": []string{}}, nil
	case "produce":
		return produce(patience, request)
	case "consume":
		return consume(request)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.RetryTimeout(10*time.Second))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	if request.Verb == "list_offsets" {
		return listOffsets(patience, kadm.NewClient(client), request)
	}
	return administrate(patience, kadm.NewClient(client), request)
}

func produce(patience context.Context, request driver.Request) (driver.Answer, error) {
	acks := map[int16]kgo.Acks{-1: kgo.AllISRAcks(), 0: kgo.NoAck(), 1: kgo.LeaderAck()}[request.AcksOrAll()]
	options := []kgo.Opt{kgo.SeedBrokers(bootstrap), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(codecs[request.Codec]), kgo.RequiredAcks(acks),
		kgo.ProducerLinger(50 * time.Millisecond), kgo.UnknownTopicRetries(5)}
	if !request.Idempotent {
		options = append(options, kgo.DisableIdempotentWrite())
	}
	if request.MaxRequest > 0 {
		options = append(options, kgo.ProducerBatchMaxBytes(request.MaxRequest))
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	records := make([]*kgo.Record, len(request.Records))
	for index, record := range request.Records {
		records[index] = &kgo.Record{Topic: request.Topic, Partition: request.Partition,
			Key: driver.Bytes(record.Key), Value: driver.Bytes(record.Value)}
		for _, pair := range record.Headers {
			header := kgo.RecordHeader{Key: *pair[0]}
			if pair[1] != nil {
				header.Value, _ = base64.StdEncoding.DecodeString(*pair[1])
			}
			records[index].Headers = append(records[index].Headers, header)
		}
		if record.Timestamp != nil {
			records[index].Timestamp = time.UnixMilli(*record.Timestamp)
		}
	}
	if err := client.ProduceSync(patience, records...).FirstErr(); err != nil {
		return nil, err
	}
	offsets := make([]*int64, len(records))
	for index, record := range records {
		if request.AcksOrAll() != 0 {
			offsets[index] = &record.Offset
		}
	}
	return driver.Answer{"offsets": offsets}, nil
}

func consume(request driver.Request) (driver.Answer, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{
			request.Topic: {request.Partition: kgo.NewOffset().At(request.Offset)}}))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	patience, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	records := []driver.Record{}
	for len(records) < request.Count && patience.Err() == nil {
		fetches := client.PollFetches(patience)
		for _, failed := range fetches.Errors() {
			if !errors.Is(failed.Err, context.DeadlineExceeded) {
				return nil, failed.Err
			}
		}
		fetches.EachRecord(func(record *kgo.Record) { records = append(records, told(record)) })
	}
	return driver.Answer{"records": records[:min(len(records), request.Count)]}, nil
}

func told(record *kgo.Record) driver.Record {
	at := record.Timestamp.UnixMilli()
	told := driver.Record{Key: driver.Pointer(record.Key), Value: driver.Pointer(record.Value), Timestamp: &at,
		Offset: record.Offset, Headers: [][2]*string{}}
	for _, header := range record.Headers {
		pair := [2]*string{&header.Key, nil}
		if header.Value != nil {
			text := base64.StdEncoding.EncodeToString(header.Value)
			pair[1] = &text
		}
		told.Headers = append(told.Headers, pair)
	}
	return told
}

func listOffsets(patience context.Context, admin *kadm.Client, request driver.Request) (driver.Answer, error) {
	var listed kadm.ListedOffsets
	var err error
	switch when := request.At.(type) {
	case float64:
		listed, err = admin.ListOffsetsAfterMilli(patience, int64(when), request.Topic)
	case string:
		switch when {
		case "earliest":
			listed, err = admin.ListStartOffsets(patience, request.Topic)
		case "latest":
			listed, err = admin.ListEndOffsets(patience, request.Topic)
		default:
			listed, err = admin.ListMaxTimestampOffsets(patience, request.Topic)
		}
	}
	if err != nil {
		return nil, err
	}
	found, _ := listed.Lookup(request.Topic, request.Partition)
	return driver.Answer{"offset": found.Offset}, found.Err
}

func administrate(patience context.Context, admin *kadm.Client, request driver.Request) (driver.Answer, error) {
	switch request.Verb {
	case "create_topic":
		if request.ValidateOnly {
			answers, err := admin.ValidateCreateTopics(patience, request.PartitionCount(), 1, request.Configs, request.Name)
			if err != nil {
				return nil, err
			}
			return nil, answers.Error()
		}
		_, err := admin.CreateTopic(patience, request.PartitionCount(), 1, request.Configs, request.Name)
		return nil, err
	case "delete_topic":
		_, err := admin.DeleteTopic(patience, request.Name)
		return nil, err
	case "describe_topic":
		found, err := admin.ListTopics(patience, request.Name)
		if err != nil {
			return nil, err
		}
		return driver.Answer{"partitions": len(found[request.Name].Partitions)}, found[request.Name].Err
	case "create_partitions":
		answers, err := admin.UpdatePartitions(patience, request.Count, request.Name)
		if err != nil {
			return nil, err
		}
		return nil, answers.Error()
	case "describe_configs":
		found, err := admin.DescribeTopicConfigs(patience, request.Name)
		if err != nil {
			return nil, err
		}
		told := driver.Answer{}
		for _, entry := range found[0].Configs {
			told[entry.Key] = driver.Answer{"value": entry.Value, "default": entry.Source.String() == "DEFAULT_CONFIG"}
		}
		return told, found[0].Err
	case "alter_configs":
		return nil, alterConfigs(patience, admin, request)
	case "delete_records":
		offsets := kadm.Offsets{}
		offsets.AddOffset(request.Topic, request.Partition, request.Before, -1)
		answers, err := admin.DeleteRecords(patience, offsets)
		if err != nil {
			return nil, err
		}
		found, _ := answers.Lookup(request.Topic, request.Partition)
		return driver.Answer{"low_watermark": found.LowWatermark}, found.Err
	case "describe_cluster":
		found, err := admin.BrokerMetadata(patience)
		return driver.Answer{"nodes": len(found.Brokers), "cluster_id": found.Cluster}, err
	}
	return nil, driver.Unsupported("the client has no " + request.Verb)
}

func alterConfigs(patience context.Context, admin *kadm.Client, request driver.Request) error {
	var changes []kadm.AlterConfig
	for name, value := range request.Changes {
		operation := kadm.SetConfig
		if value == nil {
			operation = kadm.DeleteConfig
		}
		changes = append(changes, kadm.AlterConfig{Op: operation, Name: name, Value: value})
	}
	alter := admin.AlterTopicConfigs
	if !request.IsIncremental() {
		alter = admin.AlterTopicConfigsState
	}
	answers, err := alter(patience, changes, request.Name)
	if err != nil {
		return err
	}
	return answers[0].Err
}
