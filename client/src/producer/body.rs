//! The body of a Produce call, written by hand: gRPC's framing and the messages' small fields in one piece of memory,
//! each batch as it is. The general encoder would copy every batch once more on its way to the socket.
//!
//! Invariant: the frames put together are what prost makes of the same request (a test holds them side by side).

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use highwater_proto::grpc;
use http_body::Frame;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};
use tonic::Status;
use tonic::codegen::{Service, http};
use tonic::transport::Channel;
use tonic::transport::channel::ResponseFuture;

/// Batches up to this size are copied after all: a frame of their own would cost more.
const COPY_BYTES_MAX: usize = 4 << 10;
/// Field numbers of `ProduceRequest.partitions` and `ProducePartition.batch`.
const PARTITIONS_TAG: u32 = 4;
const BATCH_TAG: u32 = 3;
/// gRPC's prefix: not compressed, and the message's length.
const PREFIX_BYTES: usize = 5;

/// Turns requests into HTTP/2 data.
#[derive(Debug)]
pub(crate) struct ProduceBody<S> {
    requests: S,
    frames: VecDeque<Bytes>,
}

impl<S> ProduceBody<S> {
    pub(crate) fn new(requests: S) -> ProduceBody<S> {
        ProduceBody { requests, frames: VecDeque::new() }
    }
}

impl<S: Stream<Item = grpc::ProduceRequest> + Unpin> http_body::Body for ProduceBody<S> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        loop {
            if let Some(frame) = self.frames.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(frame))));
            }
            match ready!(self.requests.poll_next_unpin(cx)) {
                Some(request) => self.frames = frames(request),
                None => return Poll::Ready(None),
            }
        }
    }
}

/// A request as pieces of memory, in order.
fn frames(request: grpc::ProduceRequest) -> VecDeque<Bytes> {
    let partitions = request.partitions;
    let request = grpc::ProduceRequest { partitions: Vec::new(), ..request };
    let parts: Vec<(grpc::ProducePartition, Bytes)> = partitions
        .into_iter()
        .map(|mut part| {
            let batch = std::mem::take(&mut part.batch);
            (part, batch)
        })
        .collect();
    let part_len = |(part, batch): &(grpc::ProducePartition, Bytes)| {
        part.encoded_len() + field_len(BATCH_TAG, batch.len())
    };
    let message_len: usize = request.encoded_len()
        + parts.iter().map(|part| field_len(PARTITIONS_TAG, part_len(part))).sum::<usize>();

    let mut frames = VecDeque::with_capacity(2 * parts.len());
    let mut head = BytesMut::with_capacity(PREFIX_BYTES + 64 * (1 + parts.len()));
    head.put_u8(0);
    head.put_u32(u32::try_from(message_len).expect("a request is far smaller than 4 GiB"));
    request.encode_raw(&mut head);
    for part in parts {
        encode_key(PARTITIONS_TAG, WireType::LengthDelimited, &mut head);
        encode_varint(part_len(&part) as u64, &mut head);
        let (part, batch) = part;
        part.encode_raw(&mut head);
        encode_key(BATCH_TAG, WireType::LengthDelimited, &mut head);
        encode_varint(batch.len() as u64, &mut head);
        if batch.len() <= COPY_BYTES_MAX {
            head.put_slice(&batch);
        } else {
            frames.push_back(head.split().freeze());
            frames.push_back(batch);
        }
    }
    if !head.is_empty() {
        frames.push_back(head.freeze());
    }
    frames
}

/// Bytes of a length-delimited field: key, length, content. Both tags fit one byte.
fn field_len(tag: u32, content_len: usize) -> usize {
    debug_assert!(tag < 16);
    1 + encoded_len_varint(content_len as u64) + content_len
}

/// A channel that sends a call with the given body instead of the one that the generated client made.
pub(crate) struct WithBody {
    channel: Channel,
    body: Option<tonic::body::Body>,
}

impl WithBody {
    pub(crate) fn new<S>(channel: Channel, requests: S) -> WithBody
    where
        S: Stream<Item = grpc::ProduceRequest> + Unpin + Send + 'static,
    {
        WithBody { channel, body: Some(tonic::body::Body::new(ProduceBody::new(requests))) }
    }
}

impl Service<http::Request<tonic::body::Body>> for WithBody {
    type Response = http::Response<tonic::body::Body>;
    type Error = tonic::transport::Error;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Service::poll_ready(&mut self.channel, cx)
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let body = self.body.take().unwrap_or_else(tonic::body::Body::empty);
        Service::call(&mut self.channel, request.map(|_| body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(batches: &[usize]) -> grpc::ProduceRequest {
        let part = |(partition, len): (i32, &usize)| grpc::ProducePartition {
            topic_id: Bytes::from(vec![partition as u8 + 1; 16]),
            partition,
            batch: Bytes::from(vec![0xab; *len]),
        };
        let partitions = (0..).zip(batches).map(part).collect();
        grpc::ProduceRequest { correlation: 300, acks: -1, timeout_ms: 30_000, partitions }
    }

    #[test]
    fn the_frames_are_what_prost_would_send() {
        let sizes: [&[usize]; 7] = [
            &[],
            &[0],
            &[1],
            &[127, 128],
            &[COPY_BYTES_MAX, COPY_BYTES_MAX + 1],
            &[300_000],
            &[300_000, 5, 70_000],
        ];
        for batches in sizes {
            let request = request(batches);
            let sent: Vec<u8> = frames(request.clone()).into_iter().flatten().collect();
            let length = u32::from_be_bytes(sent[1..5].try_into().expect("four bytes"));
            assert_eq!((sent[0], length as usize), (0, sent.len() - PREFIX_BYTES), "{batches:?}");
            assert_eq!(grpc::ProduceRequest::decode(&sent[PREFIX_BYTES..]), Ok(request), "{batches:?}");
        }
    }

    #[test]
    fn a_large_batch_is_handed_on_and_not_copied() {
        let request = request(&[300_000]);
        let batch = request.partitions[0].batch.as_ptr();
        assert!(frames(request).iter().any(|frame| frame.as_ptr() == batch));
    }
}
