//! `highwater offsets TOPIC`: where each partition begins and ends, or where a time is.

use highwater_client::{Position, TopicDescription};
use serde::Serialize;

use crate::args::Global;
use crate::connect;
use crate::exit::CliResult;
use crate::output::{count, print, table};
use crate::when;

/// Options of `offsets`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The topic.
    topic: String,
    /// Also show the first offset at or after this time: RFC 3339, or -2h, -15m.
    #[arg(long, value_name = "TIME", value_parser = when::parse, allow_hyphen_values = true)]
    at: Option<i64>,
}

#[derive(Serialize)]
struct Listing {
    topic: String,
    partitions: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    partition: i32,
    earliest: i64,
    latest: i64,
    records: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<i64>,
}

pub(crate) async fn run(args: Args, global: &Global) -> CliResult {
    let client = global.connect().await?;
    let topic = connect::topic(&client, &args.topic).await?;
    let admin = client.admin();
    let earliest = admin.list_offsets(&args.topic, Position::Beginning).await?;
    let latest = admin.list_offsets(&args.topic, Position::End).await?;
    let at = match args.at {
        Some(time) => Some(admin.list_offsets(&args.topic, Position::Timestamp(time)).await?),
        None => None,
    };
    let row = |index: usize| {
        let (earliest, latest) = (earliest[index].0, latest[index].0);
        let partition = i32::try_from(index).unwrap_or(i32::MAX);
        Row { partition, earliest, latest, records: latest - earliest, at: at.as_ref().map(|at| at[index].0) }
    };
    let partitions = (0..earliest.len().min(latest.len())).map(row).collect();
    print(global.output, &Listing { topic: args.topic.clone(), partitions }, |listing| text(listing, &topic))
}

fn text(listing: &Listing, topic: &TopicDescription) -> String {
    let with_time = listing.partitions.iter().any(|row| row.at.is_some());
    let mut header = vec!["PARTITION", "EARLIEST", "LATEST", "RECORDS"];
    if with_time {
        header.push("AT TIME");
    }
    let rows: Vec<Vec<String>> = listing
        .partitions
        .iter()
        .map(|row| {
            let mut cells = vec![
                row.partition.to_string(),
                row.earliest.to_string(),
                row.latest.to_string(),
                row.records.to_string(),
            ];
            cells.extend(row.at.map(|at| at.to_string()));
            cells
        })
        .collect();
    let total: i64 = listing.partitions.iter().map(|row| row.records).sum();
    format!(
        "{}{} records in {} partitions of {}\n",
        table(&header, &rows),
        count(total.unsigned_abs()),
        rows.len(),
        topic.name
    )
}
