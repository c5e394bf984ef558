//! The bytes on disk and on the wire, pinned: a change here is a new version of the format.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use openraft::BasicNode;
use openraft::EntryPayload;
use openraft::entry::RaftEntry;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderError,
    TransferLeaderRequest, VoteRequest, VoteResponse,
};

use crate::codec::{Put, Reader};
use crate::log::pinned;
use crate::snapshot::Image;
use crate::types::{Entry, Membership, Payload, SnapshotMeta, StoredMembership, Vote, log_id};
use crate::wire::{Chunk, Envelope, Request, Response};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn membership() -> Membership {
    let configs = vec![BTreeSet::from([1, 2]), BTreeSet::from([2])];
    let node = |addr: &str| BasicNode { addr: addr.to_owned() };
    Membership::new(configs, BTreeMap::from([(1, node("a:1")), (2, node("b:2")), (3, node("c"))]))
        .expect("valid")
}

fn entries() -> Vec<Entry> {
    vec![
        Entry::new(log_id(7, 5), EntryPayload::Blank),
        Entry::new(log_id(7, 6), EntryPayload::Normal(Payload(Bytes::from_static(b"abc")))),
        Entry::new(log_id(8, 7), EntryPayload::Membership(membership())),
    ]
}

#[test]
fn entries_keep_their_bytes() {
    let mut bytes = Vec::new();
    entries().iter().for_each(|entry| bytes.entry(entry));
    assert_eq!(
        hex(&bytes),
        "0700000000000000050000000000000000070000000000000006000000000000000103000000616263080000000000000007000000000000000202000000020000000100000000000000020000000000000001000000020000000000000003000000010000000000000003000000613a31020000000000000003000000623a3203000000000000000100000063"
    );
    let mut reader = Reader::new(Bytes::from(bytes));
    for entry in entries() {
        assert_eq!(reader.entry().expect("an entry"), entry);
    }
    reader.end().expect("no more");
}

#[test]
fn the_files_of_the_log_keep_their_bytes() {
    assert_eq!(
        hex(&pinned::record(&entries()[1])),
        "31e706a818000000030000000000000000010000000000000100000000000000070000000000000006000000000000000103000000616263"
    );
    assert_eq!(
        hex(&pinned::header(log_id(3, 9))),
        "4857524146544c4797509c68010000000200000000000000401f000000000000010000000000000003000000000000000900000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    );
    assert_eq!(
        hex(&pinned::vote_slot(&Vote::new_committed(4, 2))),
        "485752414654565478b04edb01000000060000000000000004000000000000000200000000000000020000000000000000000000000000000000000000000000"
    );
    assert_eq!(
        hex(&pinned::marker_slot(log_id(3, 9))),
        "4857524146544d4bccada42b01000000060000000000000002000000000000000002000000000000010000000000000003000000000000000900000000000000"
    );
}

#[test]
fn a_snapshot_keeps_its_bytes_and_no_flipped_bit_goes_unnoticed() {
    let meta = SnapshotMeta {
        last_log_id: Some(log_id(8, 9)),
        last_membership: StoredMembership::new(Some(log_id(8, 7)), membership()),
    };
    let image = Image::encode(&meta, 0x0102_0304, b"the data");
    assert_eq!(
        hex(&image.bytes),
        "485752414654534ed53319d90100000075000000040302010800000000000000257ca01c000000000108000000000000000900000000000000010800000000000000070000000000000002000000020000000100000000000000020000000000000001000000020000000000000003000000010000000000000003000000613a31020000000000000003000000623a32030000000000000001000000637468652064617461"
    );
    let (read, again) = Image::decode(image.bytes.clone()).expect("it is whole");
    assert_eq!((read, again.data(), again.digest), (meta, &b"the data"[..], 0x0102_0304));
    for at in 0..image.bytes.len() {
        let mut bytes = image.bytes.to_vec();
        bytes[at] ^= 1;
        // The four bytes before the meta are spare, and covered like everything else.
        assert!(Image::decode(Bytes::from(bytes)).is_err(), "byte {at}");
    }
    for len in 0..image.bytes.len() {
        assert!(Image::decode(image.bytes.slice(..len)).is_err(), "{len} bytes");
    }
}

fn requests() -> Vec<Request> {
    let mut vote = VoteRequest::new(Vote::new(9, 3), Some(log_id(8, 7)));
    vote.leadership_transfer = true;
    vec![
        Request::Append(AppendEntriesRequest {
            vote: Vote::new_committed(9, 3),
            prev_log_id: Some(log_id(7, 4)),
            leader_commit: None,
            entries: entries(),
        }),
        Request::Vote(vote.clone()),
        Request::PreVote(vote),
        Request::Snapshot(Chunk {
            vote: Vote::new_committed(9, 3),
            transfer: 77,
            total: 10,
            offset: 5,
            bytes: Bytes::from_static(b"12345"),
        }),
        Request::Transfer(TransferLeaderRequest::new(Vote::new_committed(9, 3), 2, None)),
    ]
}

fn responses() -> Vec<Response> {
    let vote = Vote::new(9, 3);
    let granted = VoteResponse::new(vote, Some(log_id(8, 7)), true);
    let changed = TransferLeaderError::VoteChanged { expected: vote, actual: Vote::new(10, 1) };
    let behind = TransferLeaderError::LogNotFlushed { expected: Some(log_id(8, 7)), actual: None };
    vec![
        Response::Refused("no".to_owned()),
        Response::Append(AppendEntriesResponse::Success),
        Response::Append(AppendEntriesResponse::PartialSuccess(Some(log_id(8, 7)))),
        Response::Append(AppendEntriesResponse::Conflict),
        Response::Append(AppendEntriesResponse::HigherVote(vote)),
        Response::Vote(granted.clone()),
        Response::PreVote(granted),
        Response::Snapshot(None),
        Response::Snapshot(Some(SnapshotResponse::new(vote))),
        Response::Transfer(Ok(())),
        Response::Transfer(Err(changed)),
        Response::Transfer(Err(behind)),
    ]
}

#[test]
fn requests_and_responses_keep_their_bytes() {
    let envelope = Envelope { from: 1, to: 2, cluster: 3 };
    let mut all = 0;
    for request in requests() {
        let bytes = request.encode(envelope);
        all = crc32c::crc32c_append(all, &bytes);
        let (to, again) = Request::decode(bytes.clone()).expect("it can be read");
        assert_eq!(to, envelope);
        assert_eq!(format!("{again:?}"), format!("{request:?}"));
        assert_eq!(again.encode(envelope), bytes);
        for len in 0..bytes.len() {
            assert!(Request::decode(bytes.slice(..len)).is_err(), "{len} bytes of {request:?}");
        }
    }
    for response in responses() {
        let bytes = response.encode();
        all = crc32c::crc32c_append(all, &bytes);
        let again = Response::decode(bytes.clone()).expect("it can be read");
        assert_eq!(format!("{again:?}"), format!("{response:?}"));
        for len in 0..bytes.len() {
            assert!(Response::decode(bytes.slice(..len)).is_err(), "{len} bytes of {response:?}");
        }
    }
    assert_eq!(format!("{all:08x}"), "7b29b445");
}

#[test]
fn entries_that_do_not_follow_each_other_are_malformed() {
    let mut gap = entries();
    gap.remove(1);
    let request = Request::Append(AppendEntriesRequest {
        vote: Vote::new_committed(9, 3),
        prev_log_id: Some(log_id(7, 4)),
        leader_commit: None,
        entries: gap,
    });
    let bytes = request.encode(Envelope { from: 1, to: 2, cluster: 3 });
    assert!(Request::decode(bytes).is_err());
}
