//! AlterConfigs: a topic gets exactly the settings in the request; all others go back to their defaults.

use std::collections::BTreeMap;

use kafka_protocol::messages::alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};

use super::problem::{self, Problem, shown};
use crate::listener::kafka::Context;
use crate::listener::kafka::settings::Resource;
use crate::service::Mode;

/// Carries the request out.
pub(in crate::listener::kafka) async fn handle(
    context: &Context,
    request: AlterConfigsRequest,
    _version: i16,
) -> AlterConfigsResponse {
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
    AlterConfigsResponse::default().with_responses(responses)
}

async fn alter(context: &Context, resource: AlterConfigsResource, mode: Mode) -> Result<(), Problem> {
    let name = resource.resource_name.to_string();
    let of = Resource::of(resource.resource_type, &name, context.services.config().broker_id)?;
    of.check_alterable(resource.configs.iter().map(|config| config.name.as_str()))?;
    let mut configs = BTreeMap::new();
    for config in &resource.configs {
        let Some(value) = &config.value else {
            return Err(Problem::invalid(format_args!("{} has no value", shown(&config.name))));
        };
        if configs.insert(config.name.to_string(), value.to_string()).is_some() {
            return Err(Problem::invalid(format_args!("{} stands there twice", shown(&config.name))));
        }
    }
    Ok(context.services.replace_configs(name, configs, mode).await?)
}
