//! The guard against the codec: what one calls a request, the other must too, and nothing that passes costs memory.

mod agreement;
mod allocation;
mod hostile;

use super::requests::REQUESTS;
use super::schema::Request;

/// Every request and every version that the codec knows of it.
fn every_version() -> impl Iterator<Item = (&'static Request, i16)> {
    REQUESTS.iter().flat_map(|request| {
        let (first, last) = request.versions;
        (first..=last).map(move |version| (request, version))
    })
}
