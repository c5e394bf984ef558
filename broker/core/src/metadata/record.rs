//! The records of the metadata log, as protobuf: a field that is added later is skipped by older readers, and a kind of
//! record that they do not know stops them by name instead of being dropped.
//!
//! Persisted: the tags are pinned by a golden test.

/// One change of the metadata.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Record {
    /// What changed.
    #[prost(oneof = "change::Change", tags = "1, 2, 3, 4, 5")]
    pub change: Option<change::Change>,
}

/// A setting of a topic.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ConfigValue {
    /// Kafka's name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Absent: back to the default.
    #[prost(string, optional, tag = "2")]
    pub value: Option<String>,
}

/// The kinds of change.
pub mod change {
    use super::ConfigValue;

    /// What a record changes.
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Change {
        /// A topic came to be.
        #[prost(message, tag = "1")]
        TopicCreated(TopicCreated),
        /// A topic went.
        #[prost(message, tag = "2")]
        TopicDeleted(TopicDeleted),
        /// A topic has more partitions.
        #[prost(message, tag = "3")]
        PartitionsAdded(PartitionsAdded),
        /// Settings of a topic changed.
        #[prost(message, tag = "4")]
        ConfigsChanged(ConfigsChanged),
        /// A block of producer ids was taken and is never handed out again.
        #[prost(message, tag = "5")]
        ProducerIdsTaken(ProducerIdsTaken),
    }

    /// A topic came to be.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct TopicCreated {
        /// 16 bytes.
        #[prost(bytes = "vec", tag = "1")]
        pub topic_id: Vec<u8>,
        /// Its name.
        #[prost(string, tag = "2")]
        pub name: String,
        /// How many partitions.
        #[prost(int32, tag = "3")]
        pub partitions: i32,
        /// Overrides.
        #[prost(message, repeated, tag = "4")]
        pub configs: Vec<ConfigValue>,
        /// Milliseconds since the Unix epoch, stamped by whoever decided.
        #[prost(int64, tag = "5")]
        pub created_ms: i64,
    }

    /// A topic went.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct TopicDeleted {
        /// 16 bytes.
        #[prost(bytes = "vec", tag = "1")]
        pub topic_id: Vec<u8>,
    }

    /// A topic has more partitions.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct PartitionsAdded {
        /// 16 bytes.
        #[prost(bytes = "vec", tag = "1")]
        pub topic_id: Vec<u8>,
        /// The new total.
        #[prost(int32, tag = "2")]
        pub partitions: i32,
    }

    /// Settings of a topic changed.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct ConfigsChanged {
        /// 16 bytes.
        #[prost(bytes = "vec", tag = "1")]
        pub topic_id: Vec<u8>,
        /// Only those that changed.
        #[prost(message, repeated, tag = "2")]
        pub configs: Vec<ConfigValue>,
    }

    /// A block of producer ids was taken.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct ProducerIdsTaken {
        /// The first id that is still free.
        #[prost(int64, tag = "1")]
        pub end: i64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;

    #[test]
    fn the_tags_are_pinned() {
        let created = change::TopicCreated {
            topic_id: vec![1; 16],
            name: "t".into(),
            partitions: 2,
            configs: vec![ConfigValue { name: "k".into(), value: Some("v".into()) }],
            created_ms: 3,
        };
        let bytes = Record { change: Some(change::Change::TopicCreated(created)) }.encode_to_vec();
        let golden = [
            &[0x0a, 33, 0x0a, 16][..],
            &[1; 16],
            &[0x12, 1, b't', 0x18, 2, 0x22, 6, 0x0a, 1, b'k', 0x12, 1, b'v', 0x28, 3],
        ];
        assert_eq!(bytes, golden.concat());
        let taken =
            Record { change: Some(change::Change::ProducerIdsTaken(change::ProducerIdsTaken { end: 1000 })) };
        assert_eq!(taken.encode_to_vec(), [0x2a, 3, 0x08, 0xe8, 0x07]);
    }
}
