//! Arbitrary bytes on a connection to the Kafka listener of a whole broker, cut and reordered: the broker must not panic,
//! must end the connection when the client does, and must go on serving another one.
//!
//! The first byte seeds the cuts; if the second is odd, the frames in the rest change places. Seeds are what real clients
//! sent (`fuzz/seeds/README.md`).
#![no_main]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use highwater_env::os::{OsClock, OsRandom};
use highwater_env::sim::SimDisk;
use highwater_server::{Broker, BrokerConfig, Environment};
use libfuzzer_sys::fuzz_target;

/// After so many inputs the broker is a new one, or the topics that inputs create fill the memory.
const INPUTS_PER_BROKER: usize = 1_000;
/// A connection that the client has ended must end within this time.
const PATIENCE: Duration = Duration::from_secs(8);
/// ApiVersions, version 0, number 7, no client id.
const HELLO: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 255, 255];

struct Bench {
    runtime: tokio::runtime::Runtime,
    broker: Option<Broker>,
    address: SocketAddr,
    bystander: TcpStream,
    inputs: usize,
}

static BENCH: Mutex<Option<Bench>> = Mutex::new(None);

impl Bench {
    fn start() -> Bench {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let disk = SimDisk::new(1);
        let environment = Environment { disk, clock: Arc::new(OsClock::new()), random: Arc::new(OsRandom) };
        let config = BrokerConfig::ephemeral("/data");
        let broker = runtime.block_on(Broker::start_in(environment, config)).expect("a broker");
        let address = broker.kafka_addrs()[0];
        let bystander = TcpStream::connect(address).expect("a connection");
        bystander.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Bench { runtime, broker: Some(broker), address, bystander, inputs: 0 }
    }

    fn stop(mut self) {
        if let Some(broker) = self.broker.take() {
            self.runtime.block_on(broker.stop()).expect("an orderly end");
        }
        self.runtime.shutdown_background();
    }

    fn feed(&mut self, input: &[u8]) {
        let [seed, order, stream @ ..] = input else { return };
        let mut numbers = u32::from(*seed) | 0x1_0000;
        let stream = if order % 2 == 1 { reordered(stream, &mut numbers) } else { stream.to_vec() };
        let mut socket = TcpStream::connect(self.address).expect("a connection");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        let mut rest = &stream[..];
        while !rest.is_empty() {
            let (piece, later) = rest.split_at((next(&mut numbers) as usize % 700 + 1).min(rest.len()));
            // The broker may have closed already, with good reason.
            if socket.write_all(piece).is_err() {
                break;
            }
            rest = later;
        }
        let _ = socket.shutdown(Shutdown::Write);
        let mut answers = [0; 4096];
        loop {
            match socket.read(&mut answers) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                    panic!("the connection outlives its client");
                }
                Err(_) => break,
            }
        }
        self.bystander.write_all(&HELLO).expect("another connection is served");
        let mut length = [0; 4];
        self.bystander.read_exact(&mut length).expect("another connection is answered");
        let mut answer = vec![0; u32::from_be_bytes(length) as usize];
        self.bystander.read_exact(&mut answer).expect("a whole answer");
        assert_eq!(answer[..4], [0, 0, 0, 7]);
    }
}

fn next(numbers: &mut u32) -> u32 {
    *numbers = numbers.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    *numbers >> 8
}

/// The frames of a stream in another order; what is no frame stays at the end.
fn reordered(stream: &[u8], numbers: &mut u32) -> Vec<u8> {
    let mut frames = Vec::new();
    let mut rest = stream;
    while let Some(length) = rest.first_chunk::<4>() {
        let size = 4 + u32::from_be_bytes(*length) as usize;
        if size > rest.len() {
            break;
        }
        let (frame, later) = rest.split_at(size);
        frames.push(frame);
        rest = later;
    }
    for at in (1..frames.len()).rev() {
        frames.swap(at, next(numbers) as usize % (at + 1));
    }
    frames.push(rest);
    frames.concat()
}

fuzz_target!(|input: &[u8]| {
    let mut bench = BENCH.lock().expect("no input panicked before");
    let mut running = bench.take().unwrap_or_else(Bench::start);
    running.feed(input);
    running.inputs += 1;
    if running.inputs >= INPUTS_PER_BROKER {
        running.stop();
    } else {
        *bench = Some(running);
    }
});
