//! IncrementalAlterConfigs: some settings of a topic are set, taken back, or edited as the lists they are.

use std::collections::BTreeMap;

use highwater_core::metadata::ConfigEdit;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use super::problem::{self, Problem, shown};
use crate::listener::kafka::Context;
use crate::listener::kafka::settings::Resource;
use crate::service::Mode;

/// The limits that Kafka's tool takes back when replicas have been moved.
const THROTTLES: [&str; 3] = [
    "leader.replication.throttled.rate",
    "follower.replication.throttled.rate",
    "replica.alter.log.dirs.io.max.bytes.per.second",
];

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// Carries the request out.
pub(in crate::listener::kafka) async fn handle(
    context: &Context,
    request: IncrementalAlterConfigsRequest,
    _version: i16,
) -> IncrementalAlterConfigsResponse {
    let mode = problem::mode(request.validate_only);
    let identity = |resource: &AlterConfigsResource| (resource.resource_type, resource.resource_name.clone());
    let mut responses = Vec::with_capacity(request.resources.len());
    for (identity, resource) in problem::once(request.resources, identity) {
        let outcome = match resource {
            Ok(resource) => alter(context, resource, mode).await,
            Err(problem) => Err(problem),
        };
        let (code, message) = problem::told(&outcome);
        let response =
            AlterConfigsResourceResponse::default().with_error_code(code).with_error_message(message);
        responses.push(response.with_resource_type(identity.0).with_resource_name(identity.1));
    }
    IncrementalAlterConfigsResponse::default().with_responses(responses)
}

async fn alter(context: &Context, resource: AlterConfigsResource, mode: Mode) -> Result<(), Problem> {
    let name = resource.resource_name.to_string();
    let of = Resource::of(resource.resource_type, &name, context.services.config().broker_id)?;
    if of != Resource::Topic && !resource.configs.is_empty() && resource.configs.iter().all(lifts_a_throttle)
    {
        return Ok(());
    }
    of.check_alterable(resource.configs.iter().map(|config| config.name.as_str()))?;
    let mut edits = BTreeMap::new();
    for config in &resource.configs {
        if edits.insert(config.name.to_string(), edit(config)?).is_some() {
            return Err(Problem::invalid(format_args!("{} stands there twice", shown(&config.name))));
        }
    }
    Ok(context.services.alter_configs(name, edits, mode).await?)
}

/// Whether a limit is taken back that cannot be set here: that changes nothing, and Kafka's tool does not end without it.
fn lifts_a_throttle(config: &AlterableConfig) -> bool {
    config.config_operation == DELETE && THROTTLES.contains(&config.name.as_str())
}

fn edit(config: &AlterableConfig) -> Result<ConfigEdit, Problem> {
    let name = shown(&config.name);
    let value = |edit: fn(String) -> ConfigEdit| match &config.value {
        Some(value) => Ok(edit(value.to_string())),
        None => Err(Problem::invalid(format_args!("{name} has no value"))),
    };
    match config.config_operation {
        SET => value(ConfigEdit::Set),
        DELETE => Ok(ConfigEdit::Reset),
        APPEND => value(ConfigEdit::Append),
        SUBTRACT => value(ConfigEdit::Subtract),
        other => {
            Err(Problem::invalid(format_args!("{name}: operations are 0 (set) to 3 (subtract), not {other}")))
        }
    }
}
