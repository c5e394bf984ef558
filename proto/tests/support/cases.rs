//! Reads `golden/cases.txt`: the records that the golden batches hold, whoever encoded them.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use highwater_proto::record::{BatchBuilder, Compression, Header, Record};
use highwater_proto::{Offset, ProducerId};

/// One batch's worth of records.
#[derive(Debug, Default)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) codecs: Vec<Compression>,
    pub(crate) producer: Option<(ProducerId, i16, i32)>,
    pub(crate) transactional: bool,
    pub(crate) records: Vec<Record>,
}

impl Case {
    /// The batch as our own builder writes it. It knows no transactions yet, so the bit of such a case is left 0.
    pub(crate) fn build(&self, codec: Compression) -> Bytes {
        let mut builder = BatchBuilder::new(codec, 16 << 20);
        for Record { timestamp_ms, key, value, headers, .. } in &self.records {
            builder.try_append(*timestamp_ms, key.as_deref(), value.as_deref(), headers).expect("it fits");
        }
        builder.finish(self.producer)
    }
}

/// The folder of the committed golden files.
pub(crate) fn golden_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// All cases, in the file's order.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in include_str!("../golden/cases.txt").lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.split_first() {
            Some((&"case", rest)) => cases.push(case(rest)),
            Some((&"record", rest)) => {
                push_records(&mut cases.last_mut().expect("a case comes first").records, rest)
            }
            Some((word, _)) => assert!(word.starts_with('#'), "{line}"),
            None => {}
        }
    }
    cases
}

fn case(words: &[&str]) -> Case {
    let mut case = Case {
        name: words[0].to_owned(),
        codecs: words[1].split(',').map(|name| name.parse().expect("a codec")).collect(),
        ..Case::default()
    };
    for word in &words[2..] {
        if let Some(numbers) = word.strip_prefix("producer=") {
            let numbers: Vec<i64> = numbers.split(',').map(|n| n.parse().expect("a number")).collect();
            case.producer = Some((ProducerId(numbers[0]), numbers[1] as i16, numbers[2] as i32));
        } else {
            assert_eq!(*word, "transactional");
            case.transactional = true;
        }
    }
    case
}

fn push_records(records: &mut Vec<Record>, words: &[&str]) {
    let (count, words) = match words.split_last() {
        Some((last, front)) if last.starts_with('*') => (last[1..].parse().expect("a count"), front),
        _ => (1, words),
    };
    let first_ms: i64 = words[0].parse().expect("a timestamp");
    for i in 0..count {
        let headers = words[3..].iter().map(|word| {
            let (name, value) = word.split_once('=').expect("name=value");
            Header { key: Bytes::copy_from_slice(name.as_bytes()), value: field(value, i) }
        });
        records.push(Record {
            offset: Offset(records.len() as i64),
            timestamp_ms: first_ms + i,
            key: field(words[1], i),
            value: field(words[2], i),
            headers: headers.collect(),
        });
    }
}

fn field(word: &str, i: i64) -> Option<Bytes> {
    let (kind, rest) = word.split_once(':').unwrap_or((word, ""));
    let byte = |hex: &str| u8::from_str_radix(hex, 16).expect("two hexadecimal digits");
    match kind {
        "null" => None,
        "text" => Some(Bytes::from(rest.replace("{i}", &i.to_string()))),
        "hex" => Some((0..rest.len()).step_by(2).map(|at| byte(&rest[at..at + 2])).collect()),
        "fill" => {
            let (fill, count) = rest.split_once(':').expect("fill:BYTE:COUNT");
            Some(Bytes::from(vec![byte(fill); count.parse().expect("a count")]))
        }
        _ => panic!("what is {word}?"),
    }
}
