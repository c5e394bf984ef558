//! The body of a Fetch call's answers, written by hand: gRPC's framing and the messages' small fields in one piece of
//! memory, the stored batches as the slices of the segment's map that they are. The general encoder would copy every
//! byte that is read once more on its way to the socket.
//!
//! The generated service can only be handed a stream of messages for that encoder. So the handler hands it an empty one
//! and sends the real answers along with the response's extensions, where [`Uncopied`], around the service, finds them.
//!
//! Invariant: the frames put together are what prost makes of the same answers (a test holds them side by side).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use highwater_proto::grpc::{FetchPartitionResult, FetchResponse};
use http_body::Frame;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};
use tokio_stream::Stream;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;
use tonic::{Response, Status};

/// Records up to this size are copied after all: a frame of their own would cost more.
const COPY_BYTES_MAX: usize = 4 << 10;
/// Field numbers of `FetchResponse.partitions` and `FetchPartitionResult.records`.
const PARTITIONS_TAG: u32 = 2;
const RECORDS_TAG: u32 = 10;
/// gRPC's prefix: not compressed, and the message's length.
const PREFIX_BYTES: usize = 5;

/// The answers of one call, in order; the last one may be why there are no more.
pub(super) type Answers = Pin<Box<dyn Stream<Item = Result<FetchResponse, Status>> + Send>>;

/// The answers on their way through the generated service. Taken once.
#[derive(Clone)]
struct Passenger(Arc<Mutex<Option<Answers>>>);

/// The response for the generated service: empty, with the answers beside it.
pub(super) fn respond(
    answers: impl Stream<Item = Result<FetchResponse, Status>> + Send + 'static,
) -> Response<Answers> {
    let mut response: Response<Answers> = Response::new(Box::pin(tokio_stream::empty()));
    response.extensions_mut().insert(Passenger(Arc::new(Mutex::new(Some(Box::pin(answers))))));
    response
}

/// A service whose Fetch answers leave without a copy.
#[derive(Clone, Debug)]
pub(super) struct Uncopied<S>(pub(super) S);

impl<S: NamedService> NamedService for Uncopied<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Uncopied<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let response = self.0.call(request);
        Box::pin(async move {
            let mut response = response.await?;
            if let Some(Passenger(answers)) = response.extensions_mut().remove()
                && let Some(answers) = answers.lock().unwrap_or_else(PoisonError::into_inner).take()
            {
                *response.body_mut() = Body::new(FetchBody::new(answers));
            }
            Ok(response)
        })
    }
}

/// Turns answers into HTTP/2 data, and the end into trailers.
struct FetchBody {
    /// `None` once the trailers are out.
    answers: Option<Answers>,
    frames: VecDeque<Bytes>,
}

impl FetchBody {
    fn new(answers: Answers) -> FetchBody {
        FetchBody { answers: Some(answers), frames: VecDeque::new() }
    }
}

impl http_body::Body for FetchBody {
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
            let Some(answers) = &mut self.answers else { return Poll::Ready(None) };
            let ending = match ready!(answers.as_mut().poll_next(cx)) {
                Some(Ok(answer)) => {
                    self.frames = frames(answer);
                    continue;
                }
                Some(Err(status)) => status,
                None => Status::ok(""),
            };
            self.answers = None;
            let mut trailers = http::HeaderMap::new();
            ending.add_header(&mut trailers)?;
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
    }
}

/// An answer as pieces of memory, in order.
fn frames(answer: FetchResponse) -> VecDeque<Bytes> {
    let partitions = answer.partitions;
    let answer = FetchResponse { partitions: Vec::new(), ..answer };
    let parts: Vec<(FetchPartitionResult, Bytes)> = partitions
        .into_iter()
        .map(|mut part| {
            let records = std::mem::take(&mut part.records);
            (part, records)
        })
        .collect();
    let part_len = |(part, records): &(FetchPartitionResult, Bytes)| {
        part.encoded_len() + field_len(RECORDS_TAG, records.len())
    };
    let message_len: usize = answer.encoded_len()
        + parts.iter().map(|part| field_len(PARTITIONS_TAG, part_len(part))).sum::<usize>();

    let mut frames = VecDeque::with_capacity(2 * parts.len() + 1);
    let mut head = BytesMut::with_capacity(PREFIX_BYTES + 16 + 96 * parts.len());
    head.put_u8(0);
    head.put_u32(u32::try_from(message_len).expect("an answer is capped far below 4 GiB"));
    answer.encode_raw(&mut head);
    for part in parts {
        encode_key(PARTITIONS_TAG, WireType::LengthDelimited, &mut head);
        encode_varint(part_len(&part) as u64, &mut head);
        let (part, records) = part;
        part.encode_raw(&mut head);
        encode_key(RECORDS_TAG, WireType::LengthDelimited, &mut head);
        encode_varint(records.len() as u64, &mut head);
        if records.len() <= COPY_BYTES_MAX {
            head.put_slice(&records);
        } else {
            frames.push_back(head.split().freeze());
            frames.push_back(records);
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

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;

    fn answer(sizes: &[usize]) -> FetchResponse {
        let part = |(partition, len): (i32, &usize)| FetchPartitionResult {
            topic_id: Bytes::from(vec![partition as u8 + 1; 16]),
            partition,
            error: partition % 3,
            message: "m".repeat(partition as usize),
            high_watermark: i64::from(partition) << 40,
            last_stable_offset: -1,
            log_start_offset: 7,
            leader_epoch: partition,
            cursor_generation: 3,
            records: Bytes::from(vec![0xab; *len]),
        };
        FetchResponse {
            correlation: 300,
            partitions: (0..).zip(sizes).map(part).collect(),
            throttle_ms: sizes.len() as u32,
        }
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
            &[300_000, 5, 70_000, 0],
        ];
        for records in sizes {
            let answer = answer(records);
            let sent: Vec<u8> = frames(answer.clone()).into_iter().flatten().collect();
            let length = u32::from_be_bytes(sent[1..5].try_into().expect("four bytes"));
            assert_eq!((sent[0], length as usize), (0, sent.len() - PREFIX_BYTES), "{records:?}");
            assert_eq!(FetchResponse::decode(&sent[PREFIX_BYTES..]), Ok(answer), "{records:?}");
        }
    }

    #[test]
    fn records_are_handed_on_and_not_copied() {
        let answer = answer(&[300_000]);
        let records = answer.partitions[0].records.as_ptr();
        assert!(frames(answer).iter().any(|frame| frame.as_ptr() == records));
    }

    #[tokio::test]
    async fn a_body_ends_with_the_status_and_gives_nothing_after_it() {
        let endings = [
            (vec![Ok(answer(&[5]))], "0"),
            (vec![Ok(answer(&[5])), Err(Status::unavailable("going down"))], "14"),
        ];
        for (answers, code) in endings {
            let mut body = Box::pin(FetchBody::new(tokio_stream::iter(answers).boxed()));
            let mut next =
                async || std::future::poll_fn(|cx| http_body::Body::poll_frame(body.as_mut(), cx)).await;
            assert!(next().await.expect("a frame").expect("no error").is_data());
            let trailers =
                next().await.expect("trailers").expect("no error").into_trailers().expect("trailers");
            assert_eq!(trailers["grpc-status"], code);
            assert!(next().await.is_none());
        }
    }
}
