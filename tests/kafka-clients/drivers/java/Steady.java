import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Kafka's Java client, writing steadily until standard input ends: see harness/failover.py. */
public final class Steady {
    public static void main(String[] args) throws Exception {
        String topic = args[1];
        int partitions = Integer.parseInt(args[2]);
        int rate = Integer.parseInt(args[3]);
        List<Object> acked = Collections.synchronizedList(new ArrayList<>());
        List<Object> errors = Collections.synchronizedList(new ArrayList<>());
        AtomicBoolean stop = new AtomicBoolean();
        Thread watch = new Thread(() -> {
            try {
                System.in.readAllBytes();
            } catch (java.io.IOException ended) {
                // The same as an end.
            }
            stop.set(true);
        });
        watch.setDaemon(true);
        watch.start();
        Map<String, Object> settings = Map.of("bootstrap.servers", args[0], "enable.idempotence", true, "acks", "all",
            "linger.ms", 1, "delivery.timeout.ms", 60000, "request.timeout.ms", 10000, "max.block.ms", 60000);
        int number = 0;
        try (var producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer())) {
            long began = System.nanoTime();
            while (!stop.get()) {
                for (; number < (System.nanoTime() - began) / 1e9 * rate && !stop.get(); number++) {
                    int partition = number % partitions;
                    int sequence = number / partitions;
                    byte[] value = Integer.toString(sequence).getBytes("UTF-8");
                    producer.send(new ProducerRecord<>(topic, partition, null, value), (metadata, error) -> {
                        if (error == null) {
                            acked.add(List.of(partition, sequence, metadata.offset(), System.currentTimeMillis()));
                        } else {
                            errors.add(List.of(partition, sequence, error.toString()));
                        }
                    });
                }
                Thread.sleep(1);
            }
            producer.flush();
        }
        System.out.println(new ObjectMapper().writeValueAsString(
            Map.of("written", number, "left", 0, "acked", acked, "errors", errors)));
        System.exit(0);
    }
}
