//! DescribeConfigs: settings of topics and of the broker, who set them, and what they would be otherwise.

use highwater_core::topic_name;
use highwater_proto::ErrorCode;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_protocol::protocol::StrBytes;

use super::problem::{Problem, shown};
use crate::listener::kafka::settings::{self, Resource, Synonym};
use crate::listener::kafka::{Context, broker_settings};

/// What the client wants to know besides names and values.
#[derive(Clone, Copy)]
struct Wishes {
    synonyms: bool,
    documentation: bool,
    /// Types came with version 3.
    types: bool,
}

/// Most settings of an answer: those of about 10,000 topics.
const SETTINGS_MAX: usize = 330_000;
/// So many resources are described before others get their turn.
const RESOURCES_AT_A_TIME: usize = 64;

/// Carries the request out.
pub(in crate::listener::kafka) async fn handle(
    context: &Context,
    request: DescribeConfigsRequest,
    version: i16,
) -> DescribeConfigsResponse {
    let wishes = Wishes {
        synonyms: request.include_synonyms,
        documentation: request.include_documentation && version >= 3,
        types: version >= 3,
    };
    let mut settings_count = 0;
    let mut results = Vec::with_capacity(request.resources.len());
    for (index, resource) in request.resources.into_iter().enumerate() {
        if index % RESOURCES_AT_A_TIME == RESOURCES_AT_A_TIME - 1 {
            tokio::task::yield_now().await;
        }
        let described = if settings_count < SETTINGS_MAX {
            describe(context, &resource, wishes)
        } else {
            let text =
                format!("one answer has at most {SETTINGS_MAX} settings; ask for fewer resources at a time");
            Err(Problem::new(ErrorCode::PolicyViolation, text))
        };
        let result = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name)
            .with_error_message(None);
        results.push(match described {
            Ok(configs) => {
                settings_count += configs.len();
                result.with_configs(configs)
            }
            Err(problem) => result.with_error_code(problem.number()).with_error_message(problem.message()),
        });
    }
    DescribeConfigsResponse::default().with_results(results)
}

fn describe(
    context: &Context,
    resource: &DescribeConfigsResource,
    wishes: Wishes,
) -> Result<Vec<DescribeConfigsResourceResult>, Problem> {
    // No list and an empty one both mean every setting.
    let keys = resource.configuration_keys.as_deref().unwrap_or_default();
    let wanted = |name: &str| keys.is_empty() || keys.iter().any(|key| key.as_str() == name);
    let name = resource.resource_name.as_str();
    match Resource::of(resource.resource_type, name, context.services.config().broker_id)? {
        Resource::Topic => {
            if let Err(error) = topic_name::check(name) {
                return Err(Problem::new(ErrorCode::InvalidTopicException, error));
            }
            let image = context.services.image();
            let Some(topic) = image.topic_named(name) else {
                let text = format!("there is no topic '{}'", shown(name));
                return Err(Problem::new(ErrorCode::UnknownTopicOrPartition, text));
            };
            let all = settings::of_topic(&topic.configs, &context.services.config().topic_defaults);
            Ok(all
                .filter(|setting| wanted(setting.key.name))
                .map(|setting| of_topic(&setting, wishes))
                .collect())
        }
        Resource::Broker => {
            let all = broker_settings::of_broker(context.services.config(), &context.advertised);
            Ok(all
                .into_iter()
                .filter(|setting| wanted(&setting.name))
                .map(|setting| of_broker(setting, wishes))
                .collect())
        }
        // What all brokers have in common can only be set in their files, and was not set here.
        Resource::AllBrokers => Ok(Vec::new()),
    }
}

fn of_topic(setting: &settings::TopicSetting<'_>, wishes: Wishes) -> DescribeConfigsResourceResult {
    let result = DescribeConfigsResourceResult::default()
        .with_name(StrBytes::from_static_str(setting.key.name))
        .with_value(Some(StrBytes::from_string(setting.value.to_owned())))
        .with_config_source(setting.source as i8)
        .with_documentation(None);
    let result = if wishes.synonyms {
        result.with_synonyms(settings::synonyms(setting).into_iter().map(synonym).collect())
    } else {
        result
    };
    let result = if wishes.documentation {
        result.with_documentation(Some(StrBytes::from_static_str(setting.key.text)))
    } else {
        result
    };
    if wishes.types { result.with_config_type(settings::kind(setting.key) as i8) } else { result }
}

fn of_broker(setting: broker_settings::BrokerSetting, wishes: Wishes) -> DescribeConfigsResourceResult {
    let value = StrBytes::from_string(setting.value);
    let name = StrBytes::from_string(setting.name);
    let result = DescribeConfigsResourceResult::default()
        .with_name(name.clone())
        .with_value(Some(value.clone()))
        .with_read_only(true)
        .with_config_source(setting.source as i8)
        .with_documentation(wishes.documentation.then(|| StrBytes::from_static_str(setting.text)));
    let result = if wishes.synonyms {
        let own = DescribeConfigsSynonym::default().with_name(name).with_value(Some(value));
        result.with_synonyms(vec![own.with_source(setting.source as i8)])
    } else {
        result
    };
    if wishes.types { result.with_config_type(setting.kind as i8) } else { result }
}

fn synonym(synonym: Synonym) -> DescribeConfigsSynonym {
    DescribeConfigsSynonym::default()
        .with_name(StrBytes::from_string(synonym.name))
        .with_value(Some(StrBytes::from_string(synonym.value)))
        .with_source(synonym.source as i8)
}
