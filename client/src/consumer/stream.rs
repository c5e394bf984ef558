//! The consumer's records as an async stream.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;

use crate::consumer::handle::Consumer;
use crate::consumer::records::ConsumerRecord;
use crate::error::ConsumeError;

/// Records one by one, for as long as partitions are assigned. Errors do not end it: the next item tries again.
#[derive(Debug)]
pub struct RecordStream<'a> {
    consumer: &'a mut Consumer,
}

impl<'a> RecordStream<'a> {
    pub(crate) fn new(consumer: &'a mut Consumer) -> RecordStream<'a> {
        RecordStream { consumer }
    }
}

impl Stream for RecordStream<'_> {
    type Item = Result<ConsumerRecord, ConsumeError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.consumer.poll_record(cx)
    }
}
