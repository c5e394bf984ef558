//! DeleteTopics: by name, and since version 6 by id.

use std::collections::HashSet;

use highwater_proto::{ErrorCode, TopicId};
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::problem::{self, Problem, shown};
use crate::listener::kafka::Context;

/// A topic as the request names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Wanted {
    Name(TopicName),
    Id(Uuid),
    /// By both, or by neither.
    Unclear(Option<TopicName>, Uuid),
}

/// Carries the request out.
pub(in crate::listener::kafka) async fn handle(
    context: &Context,
    request: DeleteTopicsRequest,
    version: i16,
) -> DeleteTopicsResponse {
    let by_name = request.topic_names.into_iter().map(Wanted::Name);
    let either = request.topics.into_iter().map(|topic| match (topic.name, topic.topic_id) {
        (Some(name), id) if id.is_nil() => Wanted::Name(name),
        (None, id) if !id.is_nil() => Wanted::Id(id),
        (name, id) => Wanted::Unclear(name, id),
    });
    let wanted: Vec<Wanted> = by_name.chain(either).collect();
    let repeated = problem::repeated(wanted.iter());
    let mut told = HashSet::new();
    let mut responses = Vec::with_capacity(wanted.len());
    for topic in &wanted {
        if repeated.contains(topic) && !told.insert(topic) {
            continue;
        }
        let (name, id) = identity(context, topic);
        let outcome = if repeated.contains(topic) {
            Err(Problem::invalid("the topic stands in the request twice"))
        } else {
            delete(context, topic).await
        };
        responses.push(result((name, id), &outcome, version));
    }
    DeleteTopicsResponse::default().with_responses(responses)
}

/// Name and id, as far as they are known.
fn identity(context: &Context, wanted: &Wanted) -> (Option<TopicName>, Uuid) {
    let image = context.services.image();
    match wanted {
        Wanted::Name(name) => {
            let id = image.topic_named(name).map_or(Uuid::nil(), |topic| Uuid::from_bytes(topic.id.0));
            (Some(name.clone()), id)
        }
        Wanted::Id(id) => {
            let topic = image.topic(TopicId(*id.as_bytes()));
            (topic.map(|topic| TopicName(StrBytes::from_string(topic.name.clone()))), *id)
        }
        Wanted::Unclear(name, id) => (name.clone(), *id),
    }
}

async fn delete(context: &Context, wanted: &Wanted) -> Result<(), Problem> {
    match wanted {
        Wanted::Name(name) => Ok(context.services.delete_topic(name.to_string()).await?),
        Wanted::Id(id) => Ok(context.services.delete_topic_with_id(TopicId(*id.as_bytes())).await?),
        Wanted::Unclear(Some(name), _) => {
            let text = format!("topic '{}' is named by its id too; one of them is enough", shown(name));
            Err(Problem::invalid(text))
        }
        Wanted::Unclear(None, _) => Err(Problem::invalid("neither a name nor an id says which topic")),
    }
}

fn result(
    (name, id): (Option<TopicName>, Uuid),
    outcome: &Result<(), Problem>,
    version: i16,
) -> DeletableTopicResult {
    let (mut code, message) = problem::told(outcome);
    // Ids came with version 6.
    if version < 6 && code == ErrorCode::UnknownTopicId.number() {
        code = ErrorCode::UnknownTopicOrPartition.number();
    }
    let result = DeletableTopicResult::default().with_name(name).with_error_code(code);
    let result = result.with_error_message(if version >= 5 { message } else { None });
    if version >= 6 { result.with_topic_id(id) } else { result }
}
