//! One example of each thing in the log's files, for the test that pins their bytes.

use super::marker::{self, Marker};
use super::record::Body;
use super::segment::Header;
use super::slots::{self, Slot};
use super::vote;
use crate::types::{Entry, LogId, Vote};

pub(crate) fn record(entry: &Entry) -> Vec<u8> {
    let mut bytes = Vec::new();
    Body::entry(entry).frame(3, 256, &mut bytes);
    bytes
}

pub(crate) fn header(last: LogId) -> Vec<u8> {
    let header = Header { number: 2, previous_end: 8000, last: Some(last), purged: None };
    let bytes = header.encode();
    assert_eq!(Header::decode(&bytes).expect("a header"), header);
    bytes.to_vec()
}

pub(crate) fn vote_slot(given: &Vote) -> Vec<u8> {
    slots::encode(vote::MAGIC, Slot { sequence: 6, body: vote::encode(Some(given)) }).to_vec()
}

pub(crate) fn marker_slot(committed: LogId) -> Vec<u8> {
    let marker = Marker { segment: 2, end: 512, committed: Some(committed) };
    slots::encode(marker::MAGIC, Slot { sequence: 6, body: marker::encode(&marker) }).to_vec()
}
