// Record batches by Kafka's own Java client: the encoder and decoder that define the format.
//
//   RecordInterop write CASES DIR    encode every case of the file:  DIR/{case}.{codec}.java.bin
//   RecordInterop check CASES DIR    decode DIR/{case}.{codec}.rust.bin and compare each record with the case

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.MutableRecordBatch;
import org.apache.kafka.common.record.internal.Record;
import org.apache.kafka.common.record.internal.RecordBatch;

public class RecordInterop {
    record Draft(long timestamp, byte[] key, byte[] value, Header[] headers) {}

    static class Case {
        String name;
        String[] codecs;
        long producerId = -1;
        short producerEpoch = -1;
        int baseSequence = -1;
        boolean transactional;
        final List<Draft> records = new ArrayList<>();
    }

    public static void main(String[] args) throws Exception {
        List<Case> cases = readCases(Path.of(args[1]));
        Path dir = Path.of(args[2]);
        switch (args[0]) {
            case "write" -> write(cases, dir);
            case "check" -> check(cases, dir);
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    static byte[] field(String word, int i) {
        int colon = word.indexOf(':');
        String kind = colon < 0 ? word : word.substring(0, colon);
        String rest = word.substring(colon + 1);
        return switch (kind) {
            case "null" -> null;
            case "text" -> rest.replace("{i}", Integer.toString(i)).getBytes(StandardCharsets.UTF_8);
            case "hex" -> HexFormat.of().parseHex(rest);
            case "fill" -> {
                String[] parts = rest.split(":");
                byte[] bytes = new byte[Integer.parseInt(parts[1])];
                Arrays.fill(bytes, (byte) Integer.parseInt(parts[0], 16));
                yield bytes;
            }
            default -> throw new IllegalArgumentException(word);
        };
    }

    static List<Case> readCases(Path path) throws Exception {
        List<Case> cases = new ArrayList<>();
        for (String line : Files.readAllLines(path)) {
            if (line.isBlank() || line.startsWith("#")) continue;
            List<String> words = new ArrayList<>(List.of(line.split(" +")));
            if (words.get(0).equals("case")) {
                cases.add(readCase(words));
                continue;
            }
            String last = words.get(words.size() - 1);
            int count = 1;
            if (last.startsWith("*")) {
                count = Integer.parseInt(last.substring(1));
                words.remove(words.size() - 1);
            }
            for (int i = 0; i < count; i++) {
                Header[] headers = new Header[words.size() - 4];
                for (int h = 0; h < headers.length; h++) {
                    String[] parts = words.get(4 + h).split("=", 2);
                    headers[h] = new RecordHeader(parts[0], field(parts[1], i));
                }
                long timestamp = Long.parseLong(words.get(1)) + i;
                Draft draft = new Draft(timestamp, field(words.get(2), i), field(words.get(3), i), headers);
                cases.get(cases.size() - 1).records.add(draft);
            }
        }
        return cases;
    }

    static Case readCase(List<String> words) {
        Case c = new Case();
        c.name = words.get(1);
        c.codecs = words.get(2).split(",");
        for (String word : words.subList(3, words.size())) {
            if (word.startsWith("producer=")) {
                String[] numbers = word.substring("producer=".length()).split(",");
                c.producerId = Long.parseLong(numbers[0]);
                c.producerEpoch = Short.parseShort(numbers[1]);
                c.baseSequence = Integer.parseInt(numbers[2]);
            } else {
                c.transactional = true;
            }
        }
        return c;
    }

    static void write(List<Case> cases, Path dir) throws Exception {
        for (Case c : cases) {
            for (String codec : c.codecs) {
                var builder = MemoryRecords.builder(ByteBuffer.allocate(1 << 20), RecordBatch.CURRENT_MAGIC_VALUE,
                        Compression.of(codec).build(), TimestampType.CREATE_TIME, 0L, RecordBatch.NO_TIMESTAMP,
                        c.producerId, c.producerEpoch, c.baseSequence, c.transactional,
                        RecordBatch.NO_PARTITION_LEADER_EPOCH);
                for (Draft d : c.records) builder.append(d.timestamp, d.key, d.value, d.headers);
                ByteBuffer built = builder.build().buffer();
                byte[] bytes = new byte[built.remaining()];
                built.get(bytes);
                Files.write(dir.resolve(c.name + "." + codec + ".java.bin"), bytes);
            }
        }
    }

    static void check(List<Case> cases, Path dir) throws Exception {
        int checked = 0;
        for (Case c : cases) {
            if (c.transactional) continue;
            for (String codec : c.codecs) {
                String what = c.name + "." + codec;
                byte[] bytes = Files.readAllBytes(dir.resolve(what + ".rust.bin"));
                var batches = MemoryRecords.readableRecords(ByteBuffer.wrap(bytes)).batches().iterator();
                MutableRecordBatch batch = batches.next();
                require(!batches.hasNext(), what + ": more than one batch");
                batch.ensureValid();
                require(batch.sizeInBytes() == bytes.length, what + ": size");
                require(batch.compressionType().name.equals(codec), what + ": codec " + batch.compressionType());
                require(batch.producerId() == c.producerId && batch.producerEpoch() == c.producerEpoch
                        && batch.baseSequence() == c.baseSequence, what + ": producer");
                long latest = c.records.stream().mapToLong(Draft::timestamp).max().getAsLong();
                require(batch.maxTimestamp() == latest, what + ": max timestamp");
                int index = 0;
                for (Record r : batch) {
                    Draft d = c.records.get(index);
                    String where = what + ": record " + index;
                    require(r.offset() == index && r.timestamp() == d.timestamp, where + ": offset or time");
                    require(same(r.key(), d.key) && same(r.value(), d.value), where + ": key or value");
                    require(Arrays.equals(r.headers(), d.headers), where + ": headers");
                    index++;
                }
                require(index == c.records.size(), what + ": " + index + " records");
                checked++;
            }
        }
        System.out.println("Kafka's Java client read " + checked + " of our batches");
    }

    static boolean same(ByteBuffer found, byte[] expected) {
        return expected == null ? found == null : found != null && found.equals(ByteBuffer.wrap(expected));
    }

    static void require(boolean holds, String what) {
        if (!holds) throw new AssertionError(what);
    }
}
