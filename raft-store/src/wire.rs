//! Requests between nodes, byte by byte. Integers are little endian; the parts are those of `codec.rs`.
//!
//! ```text
//! request:   version u8 = 1, kind u8, from u64, to u64, cluster u32 (crc32c of its name), then by kind
//!   1 append     vote, option prev log id, option commit, entries u32, entry..
//!   2 vote       vote, option last log id, transfer u8
//!   3 pre-vote   as vote
//!   4 snapshot   vote, transfer id u32, total u64, offset u64, bytes
//!   5 transfer   vote, to u64, option last log id
//! response:  version u8 = 1, then a kind u8: 0 refusal, text; or the request's kind and
//!   1 append     0 success | 1 partly, option log id | 2 conflict | 3 higher vote, vote
//!   2,3 vote     vote, granted u8, option last log id
//!   4 snapshot   0 go on | 1 installed, vote
//!   5 transfer   0 done | 1 vote changed, expected vote, vote | 2 not flushed, expected option log id, option log id
//! ```
//!
//! A node answers only what is addressed to it and its cluster: an address that was given to another node must not bring
//! one node's votes to another.

use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderError,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};

use crate::codec::{Malformed, Put, Reader};
use crate::types::{TypeConfig, Vote};

pub(crate) const VERSION: u8 = 1;

/// Who speaks to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// Checksum of the cluster's name.
    pub(crate) cluster: u32,
}

/// A request's content.
#[derive(Debug)]
pub(crate) enum Request {
    Append(AppendEntriesRequest<TypeConfig>),
    Vote(VoteRequest<TypeConfig>),
    PreVote(VoteRequest<TypeConfig>),
    Snapshot(Chunk),
    Transfer(TransferLeaderRequest<TypeConfig>),
}

/// A piece of a snapshot.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) vote: Vote,
    /// The same for all pieces of one transfer.
    pub(crate) transfer: u32,
    /// Bytes of the whole snapshot.
    pub(crate) total: u64,
    /// Where this piece goes.
    pub(crate) offset: u64,
    pub(crate) bytes: Bytes,
}

/// A response's content.
#[derive(Debug)]
pub(crate) enum Response {
    Refused(String),
    Append(AppendEntriesResponse<TypeConfig>),
    Vote(VoteResponse<TypeConfig>),
    PreVote(VoteResponse<TypeConfig>),
    /// `None` while pieces are missing.
    Snapshot(Option<SnapshotResponse<TypeConfig>>),
    Transfer(TransferLeaderResponse<TypeConfig>),
}

const REFUSED: u8 = 0;
const APPEND: u8 = 1;
const VOTE: u8 = 2;
const PRE_VOTE: u8 = 3;
const SNAPSHOT: u8 = 4;
const TRANSFER: u8 = 5;

impl Request {
    pub(crate) fn encode(&self, envelope: Envelope) -> Bytes {
        let mut out = vec![VERSION, self.kind()];
        out.u64(envelope.from);
        out.u64(envelope.to);
        out.u32(envelope.cluster);
        match self {
            Request::Append(append) => {
                out.vote(&append.vote);
                out.log_id_option(append.prev_log_id.as_ref());
                out.log_id_option(append.leader_commit.as_ref());
                out.u32(u32::try_from(append.entries.len()).expect("a read of the log is bounded"));
                append.entries.iter().for_each(|entry| out.entry(entry));
            }
            Request::Vote(vote) | Request::PreVote(vote) => {
                out.vote(&vote.vote);
                out.log_id_option(vote.last_log_id.as_ref());
                out.u8(u8::from(vote.leadership_transfer));
            }
            Request::Snapshot(chunk) => {
                out.vote(&chunk.vote);
                out.u32(chunk.transfer);
                out.u64(chunk.total);
                out.u64(chunk.offset);
                out.bytes(&chunk.bytes);
            }
            Request::Transfer(transfer) => {
                out.vote(transfer.from_leader());
                out.u64(*transfer.to_node_id());
                out.log_id_option(transfer.last_log_id());
            }
        }
        out.into()
    }

    fn kind(&self) -> u8 {
        match self {
            Request::Append(_) => APPEND,
            Request::Vote(_) => VOTE,
            Request::PreVote(_) => PRE_VOTE,
            Request::Snapshot(_) => SNAPSHOT,
            Request::Transfer(_) => TRANSFER,
        }
    }

    pub(crate) fn decode(bytes: Bytes) -> Result<(Envelope, Request), Malformed> {
        let mut reader = Reader::new(bytes);
        version(&mut reader)?;
        let kind = reader.u8()?;
        let envelope = Envelope { from: reader.u64()?, to: reader.u64()?, cluster: reader.u32()? };
        let request = match kind {
            APPEND => Request::Append(append(&mut reader)?),
            VOTE => Request::Vote(vote_request(&mut reader)?),
            PRE_VOTE => Request::PreVote(vote_request(&mut reader)?),
            SNAPSHOT => Request::Snapshot(Chunk {
                vote: reader.vote()?,
                transfer: reader.u32()?,
                total: reader.u64()?,
                offset: reader.u64()?,
                bytes: reader.bytes()?,
            }),
            TRANSFER => Request::Transfer(TransferLeaderRequest::new(
                reader.vote()?,
                reader.u64()?,
                reader.log_id_option()?,
            )),
            _ => return Err(Malformed { what: "request kind" }),
        };
        reader.end()?;
        Ok((envelope, request))
    }
}

fn version(reader: &mut Reader) -> Result<(), Malformed> {
    if reader.u8()? == VERSION { Ok(()) } else { Err(Malformed { what: "version: not known here" }) }
}

fn append(reader: &mut Reader) -> Result<AppendEntriesRequest<TypeConfig>, Malformed> {
    let vote = reader.vote()?;
    let prev_log_id = reader.log_id_option()?;
    let leader_commit = reader.log_id_option()?;
    let mut entries = Vec::new();
    let mut next = prev_log_id.map_or(0, |prev| prev.index.wrapping_add(1));
    for _ in 0..reader.u32()? {
        let entry = reader.entry()?;
        if entry.log_id.index != next {
            return Err(Malformed { what: "entries: not one after the other" });
        }
        next = next.wrapping_add(1);
        entries.push(entry);
    }
    Ok(AppendEntriesRequest { vote, prev_log_id, entries, leader_commit })
}

fn vote_request(reader: &mut Reader) -> Result<VoteRequest<TypeConfig>, Malformed> {
    let mut request = VoteRequest::new(reader.vote()?, reader.log_id_option()?);
    request.leadership_transfer = reader.flag()?;
    Ok(request)
}

fn vote_response(reader: &mut Reader) -> Result<VoteResponse<TypeConfig>, Malformed> {
    let vote = reader.vote()?;
    let vote_granted = reader.flag()?;
    Ok(VoteResponse { vote, vote_granted, last_log_id: reader.log_id_option()? })
}

impl Response {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = vec![VERSION];
        match self {
            Response::Refused(reason) => {
                out.u8(REFUSED);
                out.bytes(reason.as_bytes());
            }
            Response::Append(append) => {
                out.u8(APPEND);
                encode_append(append, &mut out);
            }
            Response::Vote(vote) => {
                out.u8(VOTE);
                encode_vote(vote, &mut out);
            }
            Response::PreVote(vote) => {
                out.u8(PRE_VOTE);
                encode_vote(vote, &mut out);
            }
            Response::Snapshot(installed) => {
                out.extend_from_slice(&[SNAPSHOT, u8::from(installed.is_some())]);
                if let Some(installed) = installed {
                    out.vote(&installed.vote);
                }
            }
            Response::Transfer(transfer) => {
                out.u8(TRANSFER);
                encode_transfer(transfer, &mut out);
            }
        }
        out.into()
    }

    pub(crate) fn decode(bytes: Bytes) -> Result<Response, Malformed> {
        let mut reader = Reader::new(bytes);
        version(&mut reader)?;
        let response = match reader.u8()? {
            REFUSED => Response::Refused(reader.text()?),
            APPEND => Response::Append(match reader.u8()? {
                0 => AppendEntriesResponse::Success,
                1 => AppendEntriesResponse::PartialSuccess(reader.log_id_option()?),
                2 => AppendEntriesResponse::Conflict,
                3 => AppendEntriesResponse::HigherVote(reader.vote()?),
                _ => return Err(Malformed { what: "append response" }),
            }),
            VOTE => Response::Vote(vote_response(&mut reader)?),
            PRE_VOTE => Response::PreVote(vote_response(&mut reader)?),
            SNAPSHOT => {
                let installed = reader.flag()?;
                Response::Snapshot(if installed { Some(SnapshotResponse::new(reader.vote()?)) } else { None })
            }
            TRANSFER => Response::Transfer(match reader.u8()? {
                0 => Ok(()),
                1 => {
                    Err(TransferLeaderError::VoteChanged { expected: reader.vote()?, actual: reader.vote()? })
                }
                2 => Err(TransferLeaderError::LogNotFlushed {
                    expected: reader.log_id_option()?,
                    actual: reader.log_id_option()?,
                }),
                _ => return Err(Malformed { what: "transfer response" }),
            }),
            _ => return Err(Malformed { what: "response kind" }),
        };
        reader.end()?;
        Ok(response)
    }
}

fn encode_append(append: &AppendEntriesResponse<TypeConfig>, out: &mut Vec<u8>) {
    match append {
        AppendEntriesResponse::Success => out.u8(0),
        AppendEntriesResponse::PartialSuccess(upto) => {
            out.u8(1);
            out.log_id_option(upto.as_ref());
        }
        AppendEntriesResponse::Conflict => out.u8(2),
        AppendEntriesResponse::HigherVote(vote) => {
            out.u8(3);
            out.vote(vote);
        }
    }
}

fn encode_vote(vote: &VoteResponse<TypeConfig>, out: &mut Vec<u8>) {
    out.vote(&vote.vote);
    out.u8(u8::from(vote.vote_granted));
    out.log_id_option(vote.last_log_id.as_ref());
}

fn encode_transfer(transfer: &TransferLeaderResponse<TypeConfig>, out: &mut Vec<u8>) {
    match transfer {
        Ok(()) => out.u8(0),
        Err(TransferLeaderError::VoteChanged { expected, actual }) => {
            out.u8(1);
            out.vote(expected);
            out.vote(actual);
        }
        Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
            out.u8(2);
            out.log_id_option(expected.as_ref());
            out.log_id_option(actual.as_ref());
        }
    }
}
