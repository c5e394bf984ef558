//! ApiVersions: what is served, in which versions.

use highwater_proto::ErrorCode;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse};

use crate::listener::kafka::Context;
use crate::listener::kafka::apis::{self, Api};

fn range(api: &Api) -> ApiVersion {
    ApiVersion::default()
        .with_api_key(api.key as i16)
        .with_min_version(api.advertised_min)
        .with_max_version(api.max)
}

/// Carries the request out.
#[expect(clippy::unused_async, reason = "every handler is called alike")]
pub(in crate::listener::kafka) async fn handle(
    _context: &Context,
    request: ApiVersionsRequest,
    version: i16,
) -> ApiVersionsResponse {
    let nameless = !is_name(&request.client_software_name) || !is_name(&request.client_software_version);
    if version >= 3 && nameless {
        return ApiVersionsResponse::default().with_error_code(ErrorCode::InvalidRequest.number());
    }
    let mut ranges: Vec<ApiVersion> = apis::APIS.iter().map(range).collect();
    ranges.sort_by_key(|range| range.api_key);
    ApiVersionsResponse::default().with_api_keys(ranges).with_finalized_features_epoch(-1)
}

/// The answer to a version that isn't served: in version 0, which everybody reads, and with the range to choose from.
pub(in crate::listener::kafka) fn unsupported() -> ApiVersionsResponse {
    let own = apis::find(ApiKey::ApiVersions as i16).map(range);
    ApiVersionsResponse::default()
        .with_error_code(ErrorCode::UnsupportedVersion.number())
        .with_api_keys(own.into_iter().collect())
}

/// Letters, digits, dots and hyphens, with a letter or digit at either end.
fn is_name(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric();
    text.chars().all(|c| word(c) || c == '.' || c == '-') && text.starts_with(word) && text.ends_with(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_clients_call_themselves() {
        for name in ["librdkafka", "apache-kafka-java", "4.1.0", "v2.15.0-RC1", "a"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "-", "a b", ".a", "a-", "naïve", "a\0b"] {
            assert!(!is_name(name), "{name}");
        }
    }
}
