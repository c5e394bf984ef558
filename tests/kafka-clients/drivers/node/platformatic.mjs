// @platformatic/kafka: producer, admin, and fetches without a group.
import { readFileSync } from 'node:fs'
import { Admin, Consumer, ListOffsetTimestamps, Producer } from '@platformatic/kafka'
import { Unsupported, bytes, serve, text } from './common.mjs'

const { version } = JSON.parse(readFileSync(new URL('node_modules/@platformatic/kafka/package.json', import.meta.url)))
const common = {
  clientId: 'kafka-clients', bootstrapBrokers: [process.argv[2]], retries: 3, retryDelay: 100, timeout: 10000, autocreateTopics: false
}
const TOPIC = 2

let admin
const administrator = () => (admin ??= new Admin(common))

// The operations of an incremental alteration.
const SET = 0
const DELETE = 1

async function withConsumer (use) {
  const consumer = new Consumer({ ...common, groupId: 'unused' })
  try {
    return await use(consumer)
  } finally {
    await consumer.close(true)
  }
}

const handlers = {
  hello: () => ({ client: '@platformatic/kafka', version, cannot: ['repeated-header', 'null-header'] }),
  async produce ({ topic, partition, records, codec = 'none', acks = -1, idempotent = false }) {
    const producer = new Producer(common)
    try {
      const answer = await producer.send({
        acks,
        idempotent,
        compression: codec,
        messages: records.map(one => ({
          topic,
          partition,
          key: bytes(one.key) ?? undefined,
          value: bytes(one.value) ?? undefined,
          headers: new Map(one.headers.map(([name, value]) => [Buffer.from(name), bytes(value)])),
          timestamp: one.timestamp === null ? undefined : BigInt(one.timestamp)
        }))
      })
      const base = acks === 0 ? null : Number(answer.offsets[0].offset)
      return { offsets: records.map((_, index) => (base === null ? null : base + index)) }
    } finally {
      await producer.close()
    }
  },
  consume: ({ topic, partition, offset, count }) => withConsumer(async consumer => {
    const metadata = await consumer.metadata({ topics: [topic] })
    const { id, partitions } = metadata.topics.get(topic)
    const records = []
    const deadline = Date.now() + 15000
    for (let next = BigInt(offset); records.length < count && Date.now() < deadline;) {
      const answer = await consumer.fetch({
        node: partitions[partition].leader,
        maxWaitTime: 200,
        minBytes: 1,
        maxBytes: 1 << 24,
        topics: [{
          topicId: id,
          partitions: [{ partition, fetchOffset: next, partitionMaxBytes: 1 << 24, currentLeaderEpoch: -1, lastFetchedEpoch: -1 }]
        }]
      })
      for (const batch of answer.responses[0]?.partitions[0]?.records ?? []) {
        for (const record of batch.records) {
          const at = batch.firstOffset + BigInt(record.offsetDelta)
          if (at < next) continue
          next = at + 1n
          records.push({
            offset: Number(at),
            timestamp: Number(batch.firstTimestamp + record.timestampDelta),
            key: text(record.key),
            value: text(record.value),
            headers: record.headers.map(([name, value]) => [name.toString(), text(value)])
          })
        }
      }
    }
    return { records: records.slice(0, count) }
  }),
  async list_offsets ({ topic, partition, at }) {
    const known = {
      earliest: ListOffsetTimestamps.EARLIEST, latest: ListOffsetTimestamps.LATEST, 'max-timestamp': ListOffsetTimestamps.MAX
    }
    const timestamp = known[at] ?? BigInt(at)
    const [found] = await administrator().listOffsets({
      topics: [{ name: topic, partitions: [{ partitionIndex: partition, timestamp }] }]
    })
    return { offset: Number(found.partitions[0].offset) }
  },
  async create_topic ({ name, partitions = 1, configs, validate_only: validateOnly = false }) {
    if (validateOnly) throw new Unsupported('not offered')
    await administrator().createTopics({
      topics: [name], partitions, replicas: 1, configs: Object.entries(configs ?? {}).map(([name, value]) => ({ name, value }))
    })
  },
  async delete_topic ({ name }) {
    await administrator().deleteTopics({ topics: [name] })
  },
  async describe_topic ({ name }) {
    const found = await administrator().metadata({ topics: [name], forceUpdate: true })
    return { partitions: found.topics.get(name).partitionsCount }
  },
  async create_partitions ({ name, count }) {
    await administrator().createPartitions({ topics: [{ name, count, assignments: null }] })
  },
  async describe_configs ({ name }) {
    const [found] = await administrator().describeConfigs({
      resources: [{ resourceType: TOPIC, resourceName: name, configurationKeys: null }]
    })
    return Object.fromEntries(found.configs.map(one => [one.name, { value: one.value, default: one.configSource === 5 }]))
  },
  async alter_configs ({ name, changes, incremental = true }) {
    const resource = { resourceType: TOPIC, resourceName: name }
    if (incremental) {
      const configs = Object.entries(changes).map(([name, value]) =>
        (value === null ? { name, configOperation: DELETE } : { name, configOperation: SET, value }))
      await administrator().incrementalAlterConfigs({ resources: [{ ...resource, configs }] })
    } else {
      const configs = Object.entries(changes).map(([name, value]) => ({ name, value }))
      await administrator().alterConfigs({ resources: [{ ...resource, configs }] })
    }
  },
  async delete_records ({ topic, partition, before }) {
    const [found] = await administrator().deleteRecords({
      topics: [{ name: topic, partitions: [{ partition, offset: BigInt(before) }] }]
    })
    return { low_watermark: Number(found.partitions[0].lowWatermark) }
  },
  async describe_cluster () {
    const found = await administrator().metadata({ topics: [] })
    return { nodes: found.brokers.size, cluster_id: found.id }
  }
}

function errorOf (error) {
  const seen = [error]
  for (const one of seen) {
    if (typeof one?.apiCode === 'number') return { code: one.apiCode, name: one.apiId, message: one.message }
    seen.push(...(one?.errors ?? []), ...(one?.cause ? [one.cause] : []))
  }
  return { code: null, name: error.code ?? error.name, message: String(error.message) }
}

serve(handlers, errorOf)
