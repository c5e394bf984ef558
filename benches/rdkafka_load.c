/* A load made with librdkafka, small enough not to be the limit: one JSON object on standard output.
 *
 *   rdkafka_load create  BOOTSTRAP TOPIC PARTITIONS REPLICAS [KEY=VALUE ...]
 *   rdkafka_load delete  BOOTSTRAP TOPIC
 *   rdkafka_load produce BOOTSTRAP TOPIC RECORDS SIZE          as fast as it goes, acks=all, every delivery counted
 *   rdkafka_load fetch   BOOTSTRAP TOPIC FIRST END             partitions FIRST up to END, from the start to the end
 *   rdkafka_load latency BOOTSTRAP TOPIC RATE SECONDS SIZE     open loop, no batching, from when a record is due to its arrival
 *
 * cc -O2 -o rdkafka_load rdkafka_load.c -lrdkafka -lpthread
 */
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static void die(const char *what, const char *why) {
        fprintf(stderr, "rdkafka_load: %s: %s\n", what, why);
        exit(1);
}

static int64_t now_ns(void) {
        struct timespec at;
        clock_gettime(CLOCK_MONOTONIC, &at);
        return at.tv_sec * 1000000000LL + at.tv_nsec;
}

static double cpu_seconds(void) {
        struct rusage used;
        getrusage(RUSAGE_SELF, &used);
        return used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value) {
        char why[256];
        if (rd_kafka_conf_set(conf, name, value, why, sizeof(why)) != RD_KAFKA_CONF_OK)
                die(name, why);
}

static rd_kafka_conf_t *settings(const char *bootstrap) {
        rd_kafka_conf_t *conf = rd_kafka_conf_new();
        set(conf, "bootstrap.servers", bootstrap);
        set(conf, "allow.auto.create.topics", "false");
        return conf;
}

static rd_kafka_t *client(rd_kafka_type_t type, rd_kafka_conf_t *conf) {
        char why[256];
        rd_kafka_t *made = rd_kafka_new(type, conf, why, sizeof(why));
        if (!made)
                die("client", why);
        return made;
}

/* ---- topics */

static void administrate(const char *bootstrap, const char *topic, int partitions, int replicas, char **settings_of_it) {
        char why[256];
        rd_kafka_t *rk           = client(RD_KAFKA_PRODUCER, settings(bootstrap));
        rd_kafka_queue_t *answer = rd_kafka_queue_new(rk);
        if (partitions > 0) {
                rd_kafka_NewTopic_t *made = rd_kafka_NewTopic_new(topic, partitions, replicas, why, sizeof(why));
                if (!made)
                        die("topic", why);
                for (; *settings_of_it; settings_of_it++) {
                        char *value = strchr(*settings_of_it, '=');
                        if (!value)
                                die(*settings_of_it, "is not KEY=VALUE");
                        *value = 0;
                        rd_kafka_NewTopic_set_config(made, *settings_of_it, value + 1);
                }
                rd_kafka_CreateTopics(rk, &made, 1, NULL, answer);
                rd_kafka_NewTopic_destroy(made);
        } else {
                rd_kafka_DeleteTopic_t *gone = rd_kafka_DeleteTopic_new(topic);
                rd_kafka_DeleteTopics(rk, &gone, 1, NULL, answer);
                rd_kafka_DeleteTopic_destroy(gone);
        }
        rd_kafka_event_t *event = rd_kafka_queue_poll(answer, 30000);
        if (!event || rd_kafka_event_error(event))
                die("topic", event ? rd_kafka_event_error_string(event) : "no answer");
        if (partitions > 0) {
                size_t count;
                const rd_kafka_topic_result_t **each = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
                if (count != 1 || rd_kafka_topic_result_error(each[0]))
                        die(topic, count ? rd_kafka_topic_result_error_string(each[0]) : "no answer");
        }
        rd_kafka_event_destroy(event);
        rd_kafka_queue_destroy(answer);
        rd_kafka_destroy(rk);
}

/* ---- produce */

static int64_t delivered, failed;

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque) {
        (void)rk, (void)opaque;
        if (message->err)
                failed++;
        else
                delivered++;
}

static char *payload(size_t size) {
        static const char words[] = "{\"user\":\"alice\",\"action\":\"viewed\",\"page\":\"/catalogue/items/1234567\",\"ms\":187} ";
        char *made                = malloc(size);
        for (size_t at = 0; at < size; at++)
                made[at] = words[at % (sizeof(words) - 1)];
        return made;
}

static void produce(const char *bootstrap, const char *name, int64_t records, size_t size) {
        rd_kafka_conf_t *conf = settings(bootstrap);
        set(conf, "acks", "all");
        set(conf, "linger.ms", "5");
        set(conf, "batch.size", "1000000");
        set(conf, "queue.buffering.max.messages", "200000");
        set(conf, "queue.buffering.max.kbytes", "262144");
        rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
        rd_kafka_t *rk          = client(RD_KAFKA_PRODUCER, conf);
        rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, name, NULL);
        char *value             = payload(size);
        int64_t began           = now_ns();
        for (int64_t sent = 0; sent < records;) {
                if (rd_kafka_produce(topic, RD_KAFKA_PARTITION_UA, 0, value, size, NULL, 0, NULL) == 0) {
                        if (++sent % 1024 == 0)
                                rd_kafka_poll(rk, 0);
                } else if (rd_kafka_last_error() == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
                        rd_kafka_poll(rk, 5);
                } else {
                        die("produce", rd_kafka_err2str(rd_kafka_last_error()));
                }
        }
        if (rd_kafka_flush(rk, 120000) || failed || delivered != records)
                die("produce", "records were left over");
        double seconds = (now_ns() - began) / 1e9;
        printf("{\"records\":%" PRId64 ",\"seconds\":%.6f,\"cpu_seconds\":%.3f}\n", delivered, seconds, cpu_seconds());
}

/* ---- fetch */

static void fetch(const char *bootstrap, const char *name, int first, int end) {
        rd_kafka_conf_t *conf = settings(bootstrap);
        set(conf, "group.id", "unused");
        set(conf, "enable.auto.commit", "false");
        set(conf, "enable.auto.offset.store", "false");
        /* A full queue would pause the client for a second. */
        set(conf, "queued.min.messages", "10000000");
        set(conf, "queued.max.messages.kbytes", "2097151");
        rd_kafka_t *rk          = client(RD_KAFKA_CONSUMER, conf);
        rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, name, NULL);
        rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
        int64_t expected = 0, seen = 0, bytes = 0;
        for (int partition = first; partition < end; partition++) {
                int64_t low, high;
                if (rd_kafka_query_watermark_offsets(rk, name, partition, &low, &high, 10000))
                        die("fetch", "no watermarks");
                expected += high - low;
        }
        rd_kafka_message_t *messages[10000];
        int64_t began = now_ns();
        for (int partition = first; partition < end; partition++)
                rd_kafka_consume_start_queue(topic, partition, RD_KAFKA_OFFSET_BEGINNING, queue);
        while (seen < expected) {
                ssize_t count = rd_kafka_consume_batch_queue(queue, 100, messages, 10000);
                for (ssize_t at = 0; at < count; at++) {
                        if (!messages[at]->err) {
                                seen++;
                                bytes += messages[at]->len;
                        }
                        rd_kafka_message_destroy(messages[at]);
                }
                if (now_ns() - began > 120000000000LL)
                        die("fetch", "not everything came");
        }
        double seconds = (now_ns() - began) / 1e9;
        printf("{\"records\":%" PRId64 ",\"bytes\":%" PRId64 ",\"seconds\":%.6f,\"cpu_seconds\":%.3f}\n", seen, bytes, seconds,
               cpu_seconds());
        fflush(stdout);
        _Exit(0); /* stopping the reads would take longer than they did */
}

/* ---- latency */

struct reader {
        rd_kafka_t *rk;
        rd_kafka_topic_t *topic;
        int64_t expected, seen, *latencies_ns;
};

static void *read_all(void *opaque) {
        struct reader *reader = opaque;
        while (reader->seen < reader->expected) {
                rd_kafka_message_t *message = rd_kafka_consume(reader->topic, 0, 15000);
                if (!message)
                        die("latency", "records did not arrive");
                if (!message->err) {
                        int64_t due;
                        memcpy(&due, message->payload, sizeof(due));
                        reader->latencies_ns[reader->seen++] = now_ns() - due;
                }
                rd_kafka_message_destroy(message);
        }
        return NULL;
}

static int ascending(const void *left, const void *right) {
        int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
        return (a > b) - (a < b);
}

static void *poll_deliveries(void *opaque) {
        for (;;)
                rd_kafka_poll(opaque, 100);
        return NULL;
}

static void latency(const char *bootstrap, const char *name, int64_t rate, int64_t seconds, size_t size) {
        rd_kafka_conf_t *conf = settings(bootstrap);
        set(conf, "acks", "all");
        set(conf, "linger.ms", "0");
        set(conf, "batch.num.messages", "1");
        set(conf, "socket.nagle.disable", "true");
        rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
        rd_kafka_t *producer    = client(RD_KAFKA_PRODUCER, conf);
        rd_kafka_topic_t *topic = rd_kafka_topic_new(producer, name, NULL);
        conf                    = settings(bootstrap);
        set(conf, "group.id", "unused");
        set(conf, "socket.nagle.disable", "true");
        set(conf, "fetch.wait.max.ms", "100");
        struct reader reader = {.rk = client(RD_KAFKA_CONSUMER, conf), .expected = rate * seconds};
        reader.topic         = rd_kafka_topic_new(reader.rk, name, NULL);
        reader.latencies_ns  = calloc(reader.expected, sizeof(int64_t));
        rd_kafka_consume_start(reader.topic, 0, RD_KAFKA_OFFSET_BEGINNING);
        pthread_t thread, polling;
        pthread_create(&thread, NULL, read_all, &reader);
        pthread_create(&polling, NULL, poll_deliveries, producer);
        char *value   = payload(size);
        int64_t began = now_ns() + 200000000;
        for (int64_t index = 0; index < reader.expected; index++) {
                int64_t due = began + index * 1000000000LL / rate;
                struct timespec at = {due / 1000000000LL, due % 1000000000LL};
                clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
                memcpy(value, &due, sizeof(due));
                if (rd_kafka_produce(topic, 0, RD_KAFKA_MSG_F_COPY, value, size, NULL, 0, NULL))
                        die("latency", rd_kafka_err2str(rd_kafka_last_error()));
        }
        pthread_join(thread, NULL);
        int64_t *all = reader.latencies_ns, count = reader.expected;
        /* The first tenth opens connections and warms what is cold. */
        int64_t skip = count / 10;
        qsort(all + skip, count - skip, sizeof(*all), ascending);
#define AT(share) (all[skip + (int64_t)((count - skip - 1) * (share))] / 1e6)
        printf("{\"records\":%" PRId64 ",\"p50_ms\":%.3f,\"p90_ms\":%.3f,\"p99_ms\":%.3f,\"p999_ms\":%.3f,\"max_ms\":%.3f,"
               "\"cpu_seconds\":%.3f}\n",
               count, AT(0.5), AT(0.9), AT(0.99), AT(0.999), AT(1.0), cpu_seconds());
        fflush(stdout);
        _Exit(0);
}

int main(int argc, char **argv) {
        const char *verb = argc > 3 ? argv[1] : "";
        if (!strcmp(verb, "create") && argc >= 6)
                administrate(argv[2], argv[3], atoi(argv[4]), atoi(argv[5]), argv + 6);
        else if (!strcmp(verb, "delete") && argc == 4)
                administrate(argv[2], argv[3], 0, 0, NULL);
        else if (!strcmp(verb, "produce") && argc == 6)
                produce(argv[2], argv[3], atoll(argv[4]), atoll(argv[5]));
        else if (!strcmp(verb, "fetch") && argc == 6)
                fetch(argv[2], argv[3], atoi(argv[4]), atoi(argv[5]));
        else if (!strcmp(verb, "latency") && argc == 7)
                latency(argv[2], argv[3], atoll(argv[4]), atoll(argv[5]), atoll(argv[6]));
        else
                die("usage", "create|delete|produce|fetch|latency BOOTSTRAP TOPIC ...; see the top of the source");
        return 0;
}
