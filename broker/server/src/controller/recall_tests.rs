//! What others remember decides whether a broker may start.

use super::*;

fn own(log_end: Option<u64>, last_epoch: Option<i64>) -> Own {
    Own {
        id: BrokerId(2),
        data_dir: "/data".into(),
        disk_id: "here".to_owned(),
        last_epoch: last_epoch.map(BrokerEpoch),
        log_end,
        joins: false,
    }
}

fn says(memory: Recollection) -> (String, Recollection) {
    ("broker 1".to_owned(), memory)
}

fn blank() -> Recollection {
    Recollection::default()
}

fn member(registered: Option<(&str, i64, Option<i64>)>) -> Recollection {
    let registered = registered.map(|(disk, epoch, served)| Registered {
        disk_id: disk.to_owned(),
        epoch: BrokerEpoch(epoch),
        served_epoch: served.map(BrokerEpoch),
    });
    Recollection { log_end: Some(40), is_formed: true, registered, ..blank() }
}

fn controller(memory: Recollection, matched: Option<u64>) -> Recollection {
    Recollection { confirmed: Some(Confirmed { index: 40, matched }), ..memory }
}

fn waits(judged: Result<Judgement, RecallError>) -> bool {
    matches!(judged, Ok(Judgement::Wait { .. }))
}

#[test]
fn a_cluster_is_founded_when_most_of_the_others_are_new_too() {
    let founded = Recollection { log_end: Some(0), ..blank() };
    let new = own(None, None);
    assert!(waits(judge(&new, 2, &[])));
    assert!(waits(judge(&new, 2, &[says(blank())])), "the third may hold what this one lost");
    let both = [says(blank()), says(founded)];
    assert_eq!(judge(&new, 2, &both), Ok(Judgement::Found));
    assert_eq!(judge(&new, 1, &both[..1]), Ok(Judgement::Found));
    assert!(waits(judge(&new, 4, &both)));
    assert_eq!(judge(&new, 0, &[]), Ok(Judgement::Found), "alone there is nobody to ask");
    // It had founded the cluster when it crashed, and another one may have its vote already.
    assert_eq!(judge(&own(Some(0), None), 2, &[says(member(None)), says(blank())]), Ok(Judgement::GoOn));
}

#[test]
fn an_empty_directory_of_a_member_is_refused_on_one_witness() {
    let memories = [says(blank()), says(member(Some(("there", 7, None))))];
    let refused = judge(&own(None, None), 2, &memories).unwrap_err();
    assert_eq!(refused.forgotten, Forgotten::Everything { disk_id: "there".to_owned() });
    let words = refused.to_string();
    for part in
        ["broker 2 must not start from /data", "disk there", "cluster.join", "decommission 2 --remove"]
    {
        assert!(words.contains(part), "{part}: {words}");
    }
    let same_disk = [says(member(Some(("here", 7, Some(7)))))];
    assert!(judge(&own(None, Some(7)), 2, &same_disk).is_err(), "only the metadata log was lost");
}

/// One that lags may not know yet that this broker was a member: only the controller, confirmed by a majority, can say.
#[test]
fn that_a_member_does_not_remember_proves_nothing() {
    let lags = Recollection { is_expected: true, ..member(None) };
    assert!(waits(judge(&own(None, None), 2, &[says(lags.clone())])));
    assert!(waits(judge(&own(None, None), 2, &[says(blank()), says(lags.clone())])));
    let sure = controller(lags, None);
    assert_eq!(judge(&own(None, None), 2, &[says(sure)]), Ok(Judgement::CatchUp { index: 40 }));
    let forming = controller(Recollection { is_formed: false, ..member(None) }, None);
    assert!(waits(judge(&own(None, None), 2, &[says(forming)])));
    let removed = judge(&own(None, None), 2, &[says(controller(member(None), None))]).unwrap_err();
    assert_eq!(removed.forgotten, Forgotten::Id);
}

#[test]
fn a_broker_with_its_own_disk_starts_whoever_answers() {
    let known = own(Some(40), Some(7));
    let (same, behind) = (member(Some(("here", 7, Some(7)))), member(Some(("before", 5, Some(5)))));
    // It was registered, and crashed before it wrote that down.
    let crashed = member(Some(("here", 9, Some(7))));
    for memories in [vec![], vec![says(same)], vec![says(behind)], vec![says(crashed)], vec![says(blank())]] {
        assert_eq!(judge(&known, 2, &memories), Ok(Judgement::GoOn), "{memories:?}");
    }
    let led = controller(member(Some(("here", 7, Some(7)))), Some(40));
    assert_eq!(judge(&known, 2, &[says(led)]), Ok(Judgement::GoOn));
}

#[test]
fn an_older_copy_and_another_disk_are_refused() {
    let known = own(Some(40), Some(7));
    let served = BrokerEpoch(9);
    for (memory, forgotten) in [
        (member(Some(("here", 9, Some(9)))), Forgotten::Life { here: Some(BrokerEpoch(7)), served }),
        (
            member(Some(("there", 9, Some(7)))),
            Forgotten::OtherDisk { here: "here".to_owned(), registered: "there".to_owned() },
        ),
        (
            controller(member(Some(("here", 7, Some(7)))), Some(41)),
            Forgotten::Entries { here: Some(40), confirmed: 41 },
        ),
    ] {
        let refused = judge(&known, 2, &[says(memory)]).unwrap_err();
        assert_eq!(refused.forgotten, forgotten);
    }
}

#[test]
fn one_that_joins_founds_nothing_and_waits_for_nobody() {
    let new = Own { joins: true, ..own(None, None) };
    for memories in [vec![], vec![says(blank())], vec![says(controller(member(None), None))]] {
        assert_eq!(judge(&new, 0, &memories), Ok(Judgement::GoOn));
    }
    assert!(judge(&new, 0, &[says(member(Some(("there", 7, None))))]).is_err(), "its directory was emptied");
}
