// The program that drives sarama: both of its producers, its partition consumer, its cluster admin.
package main

import (
	"encoding/base64"
	"errors"
	"os"
	"time"

	"github.com/IBM/sarama"
	"highwater.invalid/kafka-clients/driver"
)

var bootstrap = os.Args[1]

var codecs = map[string]sarama.CompressionCodec{
	"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
	"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
}

func main() {
	driver.Serve(handle, func(err error) *int16 {
		var known sarama.KError
		if errors.As(err, &known) {
			code := int16(known)
			return &code
		}
		var topic *sarama.TopicError
		if errors.As(err, &topic) {
			code := int16(topic.Err)
			return &code
		}
		return nil
	})
}

func config() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	config.Metadata.AllowAutoTopicCreation = false
	return config
}

func handle(request driver.Request) (driver.Answer, error) {
	switch request.Verb {
	case "hello":
		return driver.Answer{"client": "sarama", "version": driver.Version("github.com/IBM/sarama"),
			"cannot": []string{}}, nil
	case "produce":
		return produce(request)
	case "consume":
		return consume(request)
	case "list_offsets":
		return listOffsets(request)
	}
	admin, err := sarama.NewClusterAdmin([]string{bootstrap}, config())
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	return administrate(admin, request)
}

func message(request driver.Request, record driver.Record) *sarama.ProducerMessage {
	message := &sarama.ProducerMessage{Topic: request.Topic, Partition: request.Partition}
	if record.Key != nil {
		message.Key = sarama.ByteEncoder(driver.Bytes(record.Key))
	}
	if record.Value != nil {
		message.Value = sarama.ByteEncoder(driver.Bytes(record.Value))
	}
	for _, pair := range record.Headers {
		header := sarama.RecordHeader{Key: []byte(*pair[0])}
		if pair[1] != nil {
			header.Value, _ = base64.StdEncoding.DecodeString(*pair[1])
		}
		message.Headers = append(message.Headers, header)
	}
	if record.Timestamp != nil {
		message.Timestamp = time.UnixMilli(*record.Timestamp)
	}
	return message
}

func produce(request driver.Request) (driver.Answer, error) {
	config := config()
	config.Producer.RequiredAcks = sarama.RequiredAcks(request.AcksOrAll())
	config.Producer.Compression = codecs[request.Codec]
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Producer.Return.Successes, config.Producer.Return.Errors = true, true
	config.Producer.Flush.Frequency = 50 * time.Millisecond
	if request.MaxRequest > 0 {
		config.Producer.MaxMessageBytes = int(request.MaxRequest)
	}
	if request.Idempotent {
		config.Producer.Idempotent, config.Net.MaxOpenRequests = true, 1
	}
	messages := make([]*sarama.ProducerMessage, len(request.Records))
	for index, record := range request.Records {
		messages[index] = message(request, record)
	}
	send := sendAsync
	if request.Idempotent || len(messages) < 50 {
		send = sendSync
	}
	if err := send(config, messages); err != nil {
		return nil, err
	}
	offsets := make([]*int64, len(messages))
	for index, message := range messages {
		if request.AcksOrAll() != 0 {
			offsets[index] = &message.Offset
		}
	}
	return driver.Answer{"offsets": offsets}, nil
}

func sendSync(config *sarama.Config, messages []*sarama.ProducerMessage) error {
	producer, err := sarama.NewSyncProducer([]string{bootstrap}, config)
	if err != nil {
		return err
	}
	defer producer.Close()
	err = producer.SendMessages(messages)
	var many sarama.ProducerErrors
	if errors.As(err, &many) {
		return many[0].Err
	}
	return err
}

func sendAsync(config *sarama.Config, messages []*sarama.ProducerMessage) error {
	producer, err := sarama.NewAsyncProducer([]string{bootstrap}, config)
	if err != nil {
		return err
	}
	defer producer.Close()
	go func() {
		for _, message := range messages {
			producer.Input() <- message
		}
	}()
	for range messages {
		select {
		case <-producer.Successes():
		case failed := <-producer.Errors():
			return failed.Err
		}
	}
	return nil
}

func consume(request driver.Request) (driver.Answer, error) {
	config := config()
	config.Consumer.Return.Errors = true
	config.Consumer.MaxWaitTime = 50 * time.Millisecond
	consumer, err := sarama.NewConsumer([]string{bootstrap}, config)
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	partition, err := consumer.ConsumePartition(request.Topic, request.Partition, request.Offset)
	if err != nil {
		return nil, err
	}
	defer partition.Close()
	records, deadline := []driver.Record{}, time.After(15*time.Second)
	for len(records) < request.Count {
		select {
		case message := <-partition.Messages():
			records = append(records, told(message))
		case failed := <-partition.Errors():
			return nil, failed.Err
		case <-deadline:
			return driver.Answer{"records": records}, nil
		}
	}
	return driver.Answer{"records": records}, nil
}

func told(message *sarama.ConsumerMessage) driver.Record {
	at := message.Timestamp.UnixMilli()
	record := driver.Record{Key: driver.Pointer(message.Key), Value: driver.Pointer(message.Value), Timestamp: &at,
		Offset: message.Offset, Headers: [][2]*string{}}
	for _, header := range message.Headers {
		key := string(header.Key)
		pair := [2]*string{&key, nil}
		if header.Value != nil {
			text := base64.StdEncoding.EncodeToString(header.Value)
			pair[1] = &text
		}
		record.Headers = append(record.Headers, pair)
	}
	return record
}

func listOffsets(request driver.Request) (driver.Answer, error) {
	var at int64
	switch when := request.At.(type) {
	case float64:
		at = int64(when)
	case string:
		known := map[string]int64{"earliest": sarama.OffsetOldest, "latest": sarama.OffsetNewest}
		found, ok := known[when]
		if !ok {
			return nil, driver.Unsupported("sarama does not ask for it")
		}
		at = found
	}
	client, err := sarama.NewClient([]string{bootstrap}, config())
	if err != nil {
		return nil, err
	}
	defer client.Close()
	offset, err := client.GetOffset(request.Topic, request.Partition, at)
	return driver.Answer{"offset": offset}, err
}

func administrate(admin sarama.ClusterAdmin, request driver.Request) (driver.Answer, error) {
	switch request.Verb {
	case "create_topic":
		detail := &sarama.TopicDetail{NumPartitions: request.PartitionCount(), ReplicationFactor: 1,
			ConfigEntries: request.Configs}
		return nil, admin.CreateTopic(request.Name, detail, request.ValidateOnly)
	case "delete_topic":
		return nil, admin.DeleteTopic(request.Name)
	case "describe_topic":
		found, err := admin.DescribeTopics([]string{request.Name})
		if err != nil {
			return nil, err
		}
		if found[0].Err != sarama.ErrNoError {
			return nil, found[0].Err
		}
		return driver.Answer{"partitions": len(found[0].Partitions)}, nil
	case "create_partitions":
		return nil, admin.CreatePartitions(request.Name, int32(request.Count), nil, false)
	case "describe_configs":
		entries, err := admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: request.Name})
		told := driver.Answer{}
		for _, entry := range entries {
			told[entry.Name] = driver.Answer{"value": entry.Value, "default": entry.Source == sarama.SourceDefault}
		}
		return told, err
	case "alter_configs":
		return nil, alterConfigs(admin, request)
	case "delete_records":
		return nil, admin.DeleteRecords(request.Topic, map[int32]int64{request.Partition: request.Before})
	case "describe_cluster":
		brokers, _, err := admin.DescribeCluster()
		return driver.Answer{"nodes": len(brokers)}, err
	}
	return nil, driver.Unsupported("the client has no " + request.Verb)
}

func alterConfigs(admin sarama.ClusterAdmin, request driver.Request) error {
	if !request.IsIncremental() {
		return admin.AlterConfig(sarama.TopicResource, request.Name, request.Changes, false)
	}
	changes := map[string]sarama.IncrementalAlterConfigsEntry{}
	for name, value := range request.Changes {
		operation := sarama.IncrementalAlterConfigsOperationSet
		if value == nil {
			operation = sarama.IncrementalAlterConfigsOperationDelete
		}
		changes[name] = sarama.IncrementalAlterConfigsEntry{Operation: operation, Value: value}
	}
	return admin.IncrementalAlterConfig(sarama.TopicResource, request.Name, changes, false)
}
