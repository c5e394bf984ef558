// kafkajs: producer and admin. Its consumer works only in a group, so what it wrote is read by another client.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { compressFrame, decompressFrame } from 'lz4-napi'
import { Unsupported, bytes, serve } from './common.mjs'

const require = createRequire(import.meta.url)
const { CompressionCodecs, CompressionTypes, ConfigResourceTypes, Kafka, logLevel } = require('kafkajs')
const { version } = JSON.parse(readFileSync(require.resolve('kafkajs/package.json')))

// The three codecs that kafkajs leaves to others.
CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy')
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async encoder => compressFrame(encoder.buffer),
  decompress: async buffer => decompressFrame(buffer)
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async encoder => zstdCompressSync(encoder.buffer),
  decompress: async buffer => zstdDecompressSync(buffer)
})

const kafka = new Kafka({
  brokers: [process.argv[2]], clientId: 'kafka-clients', logLevel: logLevel.NOTHING, retry: { retries: 2 }
})
const codecs = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD
}

let admin
async function connected () {
  if (!admin) {
    admin = kafka.admin()
    await admin.connect()
  }
  return admin
}

function headersOf (pairs) {
  const headers = {}
  for (const [name, value] of pairs) {
    headers[name] = name in headers ? [headers[name], bytes(value)].flat() : bytes(value)
  }
  return headers
}

const handlers = {
  hello: () => ({
    client: 'kafkajs', version, cannot: ['null-header'], cannot_tell: ['consume']
  }),
  async produce ({ topic, partition, records, codec = 'none', acks = -1, idempotent = false }) {
    const producer = kafka.producer({ idempotent, allowAutoTopicCreation: false })
    await producer.connect()
    try {
      const [answer] = await producer.send({
        topic,
        acks,
        compression: codecs[codec],
        messages: records.map(one => ({
          partition,
          key: bytes(one.key),
          value: bytes(one.value),
          headers: headersOf(one.headers),
          timestamp: one.timestamp === null ? undefined : String(one.timestamp)
        }))
      })
      const base = answer && acks !== 0 ? Number(answer.baseOffset) : null
      return { offsets: records.map((_, index) => (base === null ? null : base + index)) }
    } finally {
      await producer.disconnect()
    }
  },
  consume: () => { throw new Unsupported('its consumer works only in a consumer group') },
  async list_offsets ({ topic, partition, at }) {
    const client = await connected()
    if (at === 'max-timestamp') throw new Unsupported('kafkajs does not ask for it')
    if (typeof at === 'number') {
      const found = await client.fetchTopicOffsetsByTimestamp(topic, at)
      return { offset: Number(found.find(one => one.partition === partition).offset) }
    }
    const found = (await client.fetchTopicOffsets(topic)).find(one => one.partition === partition)
    return { offset: Number(at === 'earliest' ? found.low : found.high) }
  },
  async create_topic ({ name, partitions = 1, configs, validate_only: validateOnly = false }) {
    const configEntries = Object.entries(configs ?? {}).map(([name, value]) => ({ name, value }))
    const made = await (await connected()).createTopics({
      validateOnly, waitForLeaders: !validateOnly,
      topics: [{ topic: name, numPartitions: partitions, replicationFactor: 1, configEntries }]
    })
    // kafkajs tells of a topic that was there by an answer, not by an error.
    if (!made) throw Object.assign(new Error('the topic was there'), { code: 36, type: 'TOPIC_ALREADY_EXISTS' })
  },
  async delete_topic ({ name }) {
    await (await connected()).deleteTopics({ topics: [name] })
  },
  async describe_topic ({ name }) {
    // Of all topics: asked for one by name, kafkajs lets the broker create it.
    const { topics } = await (await connected()).fetchTopicMetadata()
    const found = topics.find(one => one.name === name)
    if (!found) throw Object.assign(new Error('no such topic'), { code: 3, type: 'UNKNOWN_TOPIC_OR_PARTITION' })
    return { partitions: found.partitions.length }
  },
  async create_partitions ({ name, count }) {
    await (await connected()).createPartitions({ topicPartitions: [{ topic: name, count }] })
  },
  async describe_configs ({ name }) {
    const found = await (await connected()).describeConfigs({
      includeSynonyms: false, resources: [{ type: ConfigResourceTypes.TOPIC, name }]
    })
    return Object.fromEntries(found.resources[0].configEntries.map(one =>
      [one.configName, { value: one.configValue, default: one.configSource === 5 }]))
  },
  async alter_configs ({ name, changes, incremental = true }) {
    if (incremental) throw new Unsupported('kafkajs alters only as a whole')
    const configEntries = Object.entries(changes).map(([name, value]) => ({ name, value }))
    await (await connected()).alterConfigs({
      validateOnly: false, resources: [{ type: ConfigResourceTypes.TOPIC, name, configEntries }]
    })
  },
  async delete_records ({ topic, partition, before }) {
    // kafkajs deletes only from topics that it has asked about.
    await (await connected()).fetchTopicOffsets(topic)
    await (await connected()).deleteTopicRecords({ topic, partitions: [{ partition, offset: String(before) }] })
  },
  async describe_cluster () {
    const found = await (await connected()).describeCluster()
    return { nodes: found.brokers.length, cluster_id: found.clusterId }
  }
}

function errorOf (error) {
  for (const inner of [error, error.cause, error.originalError, ...(error.errors ?? [])]) {
    if (typeof inner?.code === 'number') return { code: inner.code, name: inner.type, message: inner.message }
  }
  return { code: null, name: error.name, message: String(error.message) }
}

serve(handlers, errorOf)
