//! Brokers come, and come back: who is let in, in which epoch, and what the data on its disk still counts for (M-08,
//! M-61, KIP-903, KIP-966).

use highwater_proto::BrokerId;
use highwater_proto::museum::{self, Bug};

use super::broker::Broker;
use super::command::{LastStop, Outcome, Registration};
use super::decide::Context;
use super::image::Image;
use super::record::{Record, change};
use super::refusal::RegistrationError;
use super::transition::sweep;

/// What the disk of a broker that came back still counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Data {
    /// Everything that was flushed is there, and everything was.
    Whole,
    /// What was flushed is there.
    Flushed,
    /// It is another disk, or an old copy of it: nothing is there that was promised.
    Gone,
}

/// Registers a broker, fenced, in the next epoch. Its earlier life leaves every in-sync set by that.
///
/// # Errors
/// [`RegistrationError`], and nothing changes.
pub fn register(
    image: &Image,
    context: Context<'_>,
    registration: &Registration,
) -> Result<(Vec<Record>, Outcome), RegistrationError> {
    check_membership(image, registration)?;
    let id = registration.broker;
    let epoch = image.next_broker_epoch();
    let before = image.broker(id);
    if let Some(before) = before {
        if before.incarnation == registration.incarnation && is_repeated(before, registration) {
            return Ok((Vec::new(), Outcome::Registered { epoch: before.epoch }));
        }
        if before.epoch >= epoch {
            return Err(RegistrationError::Concurrent { broker: id });
        }
        if before.incarnation != registration.incarnation && !before.fenced && context.alive.contains(&id) {
            let (epoch, peer) = (before.epoch, before.endpoints.peer.clone());
            return Err(RegistrationError::Duplicate { broker: id, epoch, peer });
        }
    }
    let broker = Broker {
        id,
        epoch,
        deposed_at: 0,
        served_epoch: before.and_then(|before| before.served_epoch),
        incarnation: registration.incarnation,
        disk_id: registration.disk_id.clone(),
        endpoints: registration.endpoints.clone(),
        rack: registration.rack.clone(),
        version: registration.version,
        fenced: !museum::active(Bug::RestartKeepsItsPart),
        draining: before.is_some_and(|before| before.draining),
        stopping: false,
    };
    let mut records = vec![change::Change::BrokerRegistered(broker.to_wire()).into()];
    records.extend(recount(image, id, data(before, registration)));
    Ok((records, Outcome::Registered { epoch }))
}

fn check_membership(image: &Image, registration: &Registration) -> Result<(), RegistrationError> {
    let broker = registration.broker;
    let here = image.cluster().ok_or(RegistrationError::NoCluster { broker })?.id;
    if let Some(theirs) = registration.cluster.filter(|theirs| *theirs != here) {
        return Err(RegistrationError::OtherCluster { broker, theirs, here });
    }
    if broker.0 < 0 || broker >= image.next_broker_id() {
        return Err(RegistrationError::UnknownId { broker });
    }
    if image.broker(broker).is_none() && !image.unregistered_ids().contains(&broker) {
        return Err(RegistrationError::Removed { broker });
    }
    let (version, needed) = (registration.version, image.metadata_version());
    if version < needed {
        return Err(RegistrationError::TooOld { broker, version, needed });
    }
    Ok(())
}

/// Whether the answer to the same registration was lost.
fn is_repeated(before: &Broker, registration: &Registration) -> bool {
    before.disk_id == registration.disk_id
        && before.endpoints == registration.endpoints
        && before.rack == registration.rack
        && before.version == registration.version
        && !before.stopping
}

/// A life that was never unfenced served nothing, so a disk that doesn't know its epoch may still be the right one: what
/// counts is the last epoch that did serve.
fn data(before: Option<&Broker>, registration: &Registration) -> Data {
    let Some(before) = before else { return Data::Gone };
    let gone = before.disk_id != registration.disk_id || registration.last_epoch < before.served_epoch;
    if gone && !museum::active(Bug::WipedDiskIsWhole) {
        return Data::Gone;
    }
    match registration.last_stop {
        LastStop::Clean => Data::Whole,
        LastStop::Unclean => Data::Flushed,
    }
}

fn recount(image: &Image, broker: BrokerId, data: Data) -> Vec<Record> {
    if museum::active(Bug::RestartKeepsItsPart) {
        return Vec::new();
    }
    let active = |id: BrokerId| id != broker && image.is_active(id);
    let concerned = |partition: &super::Partition| {
        [&partition.isr, &partition.elr, &partition.last_known_elr].iter().any(|list| list.contains(&broker))
    };
    sweep(image, &active, concerned, |topic, mut draft| {
        match data {
            Data::Gone => draft.empty.push(broker),
            Data::Flushed if museum::active(Bug::UncleanIsClean) => {}
            Data::Flushed if !topic.acknowledges_from_disk() => draft.tainted.push(broker),
            Data::Flushed | Data::Whole => {}
        }
        draft
    })
}

#[cfg(test)]
#[path = "registration_tests.rs"]
mod tests;
