//! What came out, as a table, and what the brokers said meanwhile.

#![expect(clippy::disallowed_methods, reason = "the bench reads real files")]

use std::fmt::Write;
use std::time::{Duration, UNIX_EPOCH};

use super::brokers::Brokers;
use super::rounds::{Class, Round};

const DAY_MS: i64 = 24 * 3600 * 1000;

/// One row for each class and each of the two waits, in milliseconds.
#[must_use]
pub fn table(rounds: &[Round]) -> String {
    let mut text = String::from(
        "| fault | partitions | n | p50 ms | p90 ms | p99 ms | max ms | client errors |\n|---|---|---|---|---|---|---|---|\n",
    );
    for class in Class::ALL {
        let of_class = || rounds.iter().filter(move |round| round.class == class);
        let errors: u64 = of_class().map(|round| round.errors).sum();
        let waits: [(&str, Vec<Duration>); 2] = [
            ("led by the victim", of_class().map(|round| round.led).collect()),
            ("all", of_class().map(|round| round.all).collect()),
        ];
        for (which, mut waits) in waits {
            waits.sort_unstable();
            let Some(longest) = waits.last() else { continue };
            let at =
                |percent: usize| waits[(waits.len() * percent).div_ceil(100).saturating_sub(1)].as_millis();
            let _ = writeln!(
                text,
                "| {} | {which} | {} | {} | {} | {} | {} | {errors} |",
                class.name(),
                waits.len(),
                at(50),
                at(90),
                at(99),
                longest.as_millis(),
            );
        }
    }
    text
}

/// What every broker logged in a round, by time from the fault on, until every partition was written to again.
#[must_use]
pub fn timeline(brokers: &Brokers, round: &Round) -> String {
    let mut lines: Vec<(i64, String, String)> = Vec::new();
    let zero = round.at.duration_since(UNIX_EPOCH).map_or(0, |at| at.as_millis() as i64 % DAY_MS);
    let end = round.all.as_millis() as i64 + 50;
    for (who, log) in brokers.logs() {
        let log = std::fs::read(log).unwrap_or_default();
        for line in String::from_utf8_lossy(&log).lines() {
            let Some((at, said)) = time_of_day_ms(line) else { continue };
            let after = (at - zero + DAY_MS / 2).rem_euclid(DAY_MS) - DAY_MS / 2;
            if (-20..=end).contains(&after) {
                lines.push((after, who.clone(), said.trim().to_owned()));
            }
        }
    }
    lines.sort_by_key(|(after, ..)| *after);
    let mut text = format!(
        "{} of broker {}: {} ms, all {} ms\n",
        round.class.name(),
        round.victim,
        round.led.as_millis(),
        round.all.as_millis()
    );
    for (after, who, said) in lines {
        let _ = writeln!(text, "  {after:>6} ms  {who}  {said}");
    }
    text
}

/// The time of day at a log line's head (`[broker 1] 2026-11-21T20:30:55.123456Z`), in milliseconds, and what follows it.
fn time_of_day_ms(line: &str) -> Option<(i64, &str)> {
    let (head, said) = line.split_once("Z ")?;
    let (_, time) = head.rsplit_once('T')?;
    let mut parts = time.split(':');
    let hours: i64 = parts.next()?.parse().ok()?;
    let minutes: i64 = parts.next()?.parse().ok()?;
    let seconds: f64 = parts.next()?.parse().ok()?;
    Some(((hours * 60 + minutes) * 60_000 + (seconds * 1000.0) as i64, said))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(class: Class, led_ms: u64) -> Round {
        let led = Duration::from_millis(led_ms);
        Round { class, victim: 1, at: UNIX_EPOCH, led, all: led * 2, errors: 1 }
    }

    #[test]
    fn percentiles_are_of_the_sorted_waits_and_a_class_without_rounds_has_no_row() {
        let rounds: Vec<Round> = (1..=100).rev().map(|ms| round(Class::KillLeader, ms)).collect();
        let text = table(&rounds);
        assert!(
            text.contains("| kill-leader | led by the victim | 100 | 50 | 90 | 99 | 100 | 100 |"),
            "{text}"
        );
        assert!(text.contains("| kill-leader | all | 100 | 100 | 180 | 198 | 200 | 100 |"), "{text}");
        assert_eq!(text.lines().count(), 4);
    }

    #[test]
    fn a_log_line_says_when_it_was() {
        let ms = ((20 * 60) + 30) * 60_000 + 55_123;
        let line = "[broker 1] 2026-11-21T20:30:55.123456Z INFO broker: following";
        assert_eq!(time_of_day_ms(line), Some((ms, "INFO broker: following")));
        assert_eq!(time_of_day_ms("not a line of a log"), None);
    }
}
