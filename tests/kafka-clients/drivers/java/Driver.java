import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.CreateTopicsOptions;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.utils.AppInfoParser;

/** Kafka's Java client: answers requests, one JSON object a line, until standard input ends. */
public final class Driver {
    private static final class Unsupported extends RuntimeException {
        Unsupported(String reason) {
            super(reason);
        }
    }

    private final ObjectMapper json = new ObjectMapper();
    private final String bootstrap;
    private Admin admin;

    private Driver(String bootstrap) {
        this.bootstrap = bootstrap;
    }

    public static void main(String[] args) throws Exception {
        Driver driver = new Driver(args[0]);
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in, "UTF-8"));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            System.out.println(driver.json.writeValueAsString(driver.answer(driver.json.readTree(line))));
        }
        System.exit(0);
    }

    private Map<String, Object> answer(JsonNode request) {
        try {
            return Map.of("ok", handle(request));
        } catch (Unsupported reason) {
            return Map.of("unsupported", reason.getMessage());
        } catch (Throwable thrown) {
            Throwable error = thrown instanceof ExecutionException ? thrown.getCause() : thrown;
            error.printStackTrace();
            Map<String, Object> told = new HashMap<>();
            Errors known = Errors.forException(error);
            told.put("code", known == Errors.UNKNOWN_SERVER_ERROR ? null : (int) known.code());
            told.put("name", error.getClass().getSimpleName());
            told.put("message", String.valueOf(error.getMessage()));
            return Map.of("error", told);
        }
    }

    private Object handle(JsonNode request) throws Exception {
        return switch (request.get("verb").asText()) {
            case "hello" -> Map.of("client", "Java", "version", AppInfoParser.getVersion(), "cannot", List.of());
            case "produce" -> produce(request);
            case "consume" -> consume(request);
            case "list_offsets" -> listOffsets(request);
            case "create_topic" -> createTopic(request);
            case "delete_topic" -> done(admin().deleteTopics(List.of(name(request))).all());
            case "describe_topic" -> Map.of("partitions",
                get(admin().describeTopics(List.of(name(request))).allTopicNames()).get(name(request)).partitions().size());
            case "create_partitions" -> done(admin().createPartitions(
                Map.of(name(request), NewPartitions.increaseTo(request.get("count").asInt()))).all());
            case "describe_configs" -> describeConfigs(request);
            case "alter_configs" -> alterConfigs(request);
            case "delete_records" -> deleteRecords(request);
            case "describe_cluster" -> Map.of("nodes", get(admin().describeCluster().nodes()).size(),
                "cluster_id", get(admin().describeCluster().clusterId()));
            default -> throw new Unsupported("the client has no " + request.get("verb").asText());
        };
    }

    private static String name(JsonNode request) {
        return request.get("name").asText();
    }

    private Admin admin() {
        if (admin == null) {
            admin = Admin.create(Map.of("bootstrap.servers", bootstrap, "request.timeout.ms", "10000",
                "default.api.timeout.ms", "15000"));
        }
        return admin;
    }

    private static <T> T get(KafkaFuture<T> future) throws Exception {
        return future.get(15, TimeUnit.SECONDS);
    }

    private static Object done(KafkaFuture<?> future) throws Exception {
        get(future);
        return Map.of();
    }

    private static byte[] bytes(JsonNode text) {
        return text == null || text.isNull() ? null : Base64.getDecoder().decode(text.asText());
    }

    private static String text(byte[] bytes) {
        return bytes == null ? null : Base64.getEncoder().encodeToString(bytes);
    }

    private Object produce(JsonNode request) throws Exception {
        Map<String, Object> settings = new HashMap<>(Map.of("bootstrap.servers", bootstrap,
            "key.serializer", ByteArraySerializer.class, "value.serializer", ByteArraySerializer.class,
            "linger.ms", "50", "batch.size", "262144", "delivery.timeout.ms", "20000", "request.timeout.ms", "10000"));
        settings.put("compression.type", request.path("codec").asText("none"));
        settings.put("enable.idempotence", String.valueOf(request.path("idempotent").asBoolean(false)));
        int acks = request.path("acks").asInt(-1);
        settings.put("acks", String.valueOf(acks));
        if (request.hasNonNull("max_request")) {
            settings.put("max.request.size", request.get("max_request").asText());
        }
        List<Long> offsets = new ArrayList<>();
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(settings)) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (JsonNode record : request.get("records")) {
                List<Header> headers = new ArrayList<>();
                record.get("headers").forEach(pair ->
                    headers.add(new RecordHeader(pair.get(0).asText(), bytes(pair.get(1)))));
                Long timestamp = record.get("timestamp").isNull() ? null : record.get("timestamp").asLong();
                sent.add(producer.send(new ProducerRecord<>(request.get("topic").asText(),
                    request.get("partition").asInt(), timestamp, bytes(record.get("key")), bytes(record.get("value")),
                    headers)));
            }
            producer.flush();
            for (Future<RecordMetadata> one : sent) {
                RecordMetadata metadata = one.get(20, TimeUnit.SECONDS);
                offsets.add(acks != 0 && metadata.hasOffset() ? metadata.offset() : null);
            }
        }
        return Map.of("offsets", offsets);
    }

    private Object consume(JsonNode request) {
        Map<String, Object> settings = Map.of("bootstrap.servers", bootstrap, "auto.offset.reset", "none",
            "key.deserializer", ByteArrayDeserializer.class, "value.deserializer", ByteArrayDeserializer.class,
            "allow.auto.create.topics", "false", "fetch.max.wait.ms", "50");
        TopicPartition where = new TopicPartition(request.get("topic").asText(), request.get("partition").asInt());
        int count = request.get("count").asInt();
        List<Object> records = new ArrayList<>();
        long deadline = System.nanoTime() + 15_000_000_000L;
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(settings)) {
            consumer.assign(List.of(where));
            consumer.seek(where, request.get("offset").asLong());
            while (records.size() < count && System.nanoTime() < deadline) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                    records.add(told(record));
                }
            }
        }
        return Map.of("records", records.subList(0, Math.min(count, records.size())));
    }

    private static Map<String, Object> told(ConsumerRecord<byte[], byte[]> record) {
        List<Object> headers = new ArrayList<>();
        for (Header header : record.headers()) {
            List<Object> pair = new ArrayList<>();
            pair.add(header.key());
            pair.add(text(header.value()));
            headers.add(pair);
        }
        Map<String, Object> told = new HashMap<>();
        told.put("offset", record.offset());
        told.put("timestamp", record.timestamp());
        told.put("key", text(record.key()));
        told.put("value", text(record.value()));
        told.put("headers", headers);
        return told;
    }

    private Object listOffsets(JsonNode request) throws Exception {
        TopicPartition where = new TopicPartition(request.get("topic").asText(), request.get("partition").asInt());
        OffsetSpec spec = switch (request.get("at").asText()) {
            case "earliest" -> OffsetSpec.earliest();
            case "latest" -> OffsetSpec.latest();
            case "max-timestamp" -> OffsetSpec.maxTimestamp();
            default -> OffsetSpec.forTimestamp(request.get("at").asLong());
        };
        return Map.of("offset", get(admin().listOffsets(Map.of(where, spec)).partitionResult(where)).offset());
    }

    private Object createTopic(JsonNode request) throws Exception {
        Map<String, String> configs = new HashMap<>();
        if (request.hasNonNull("configs")) {
            request.get("configs").fields().forEachRemaining(one -> configs.put(one.getKey(), one.getValue().asText()));
        }
        NewTopic topic = new NewTopic(name(request), Optional.of(request.path("partitions").asInt(1)),
            Optional.of((short) 1)).configs(configs);
        CreateTopicsOptions options = new CreateTopicsOptions()
            .validateOnly(request.path("validate_only").asBoolean(false));
        return done(admin().createTopics(Set.of(topic), options).all());
    }

    private Object describeConfigs(JsonNode request) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, name(request));
        Map<String, Object> told = new HashMap<>();
        for (ConfigEntry entry : get(admin().describeConfigs(Set.of(resource)).all()).get(resource).entries()) {
            Map<String, Object> one = new HashMap<>();
            one.put("value", entry.value());
            one.put("default", entry.isDefault());
            told.put(entry.name(), one);
        }
        return told;
    }

    private Object alterConfigs(JsonNode request) throws Exception {
        if (!request.path("incremental").asBoolean(true)) {
            throw new Unsupported("the client alters only incrementally since 4.0");
        }
        Set<AlterConfigOp> changes = new HashSet<>();
        request.get("changes").fields().forEachRemaining(one -> changes.add(new AlterConfigOp(
            new ConfigEntry(one.getKey(), one.getValue().isNull() ? null : one.getValue().asText()),
            one.getValue().isNull() ? AlterConfigOp.OpType.DELETE : AlterConfigOp.OpType.SET)));
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, name(request));
        return done(admin().incrementalAlterConfigs(Map.of(resource, changes)).all());
    }

    private Object deleteRecords(JsonNode request) throws Exception {
        TopicPartition where = new TopicPartition(request.get("topic").asText(), request.get("partition").asInt());
        RecordsToDelete before = RecordsToDelete.beforeOffset(request.get("before").asLong());
        return Map.of("low_watermark",
            get(admin().deleteRecords(Map.of(where, before)).lowWatermarks().get(where)).lowWatermark());
    }
}
