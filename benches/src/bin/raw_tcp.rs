//! The same bytes over a bare TCP connection: what the machine gives to a program that does nothing else.
//!
//! ```text
//! raw_tcp serve --bytes N              holds N bytes in memory, prints its address and serves until killed
//! raw_tcp fetch --addr A --bytes N     reads N bytes of the server's
//! raw_tcp produce --addr A --bytes N   writes N bytes to the server
//! ```
//! Pieces of 1 MiB follow a prefix of their length and CRC-32C, four bytes each; whoever receives checks the sum, as
//! Highwater's consumer and broker do. Blocking threads, one connection, the sums of what is sent known beforehand.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
#![expect(clippy::print_stdout, reason = "the result goes there")]

use std::io::{self, IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use highwater_benches::flags::Flags;
use highwater_proto::record::crc32c;

const PIECE_BYTES: usize = 1 << 20;
const FETCH: u8 = b'f';
const PRODUCE: u8 = b'p';

fn main() -> io::Result<()> {
    let mode = std::env::args().nth(1).unwrap_or_default();
    let flags = Flags::from_args(1);
    match mode.as_str() {
        "serve" => serve(&Pieces::new(flags.get("bytes", 1 << 30))),
        "fetch" => measure(&flags, FETCH),
        "produce" => measure(&flags, PRODUCE),
        _ => panic!("usage: raw_tcp serve|fetch|produce --addr HOST:PORT --bytes N"),
    }
}

/// What is sent: each piece with its sum.
struct Pieces {
    bytes: Vec<u8>,
    sums: Vec<u32>,
}

impl Pieces {
    /// At least one piece.
    fn new(bytes: usize) -> Pieces {
        let count = bytes.div_ceil(PIECE_BYTES).max(1);
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut words = Vec::with_capacity(count * PIECE_BYTES);
        for _ in 0..count * PIECE_BYTES / 8 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            words.extend_from_slice(&state.to_le_bytes());
        }
        let sums = words.chunks(PIECE_BYTES).map(crc32c).collect();
        Pieces { bytes: words, sums }
    }

    fn send(&self, number: usize, stream: &mut TcpStream) -> io::Result<()> {
        let number = number % self.sums.len();
        let mut prefix = [0; 8];
        prefix[..4].copy_from_slice(&(PIECE_BYTES as u32).to_le_bytes());
        prefix[4..].copy_from_slice(&self.sums[number].to_le_bytes());
        let piece = &self.bytes[number * PIECE_BYTES..][..PIECE_BYTES];
        let mut slices = [IoSlice::new(&prefix), IoSlice::new(piece)];
        let mut rest = &mut slices[..];
        while !rest.is_empty() {
            let written = stream.write_vectored(rest)?;
            IoSlice::advance_slices(&mut rest, written);
        }
        Ok(())
    }
}

fn receive(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<()> {
    let mut prefix = [0; 8];
    stream.read_exact(&mut prefix)?;
    let [length, sum] = [&prefix[..4], &prefix[4..]]
        .map(|bytes| u32::from_le_bytes(bytes.try_into().expect("a half of eight is four")));
    let piece = buffer.get_mut(..length as usize).expect("no piece is longer than the buffer");
    stream.read_exact(piece)?;
    assert_eq!(crc32c(piece), sum, "the bytes changed on the way");
    Ok(())
}

fn serve(pieces: &Pieces) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    loop {
        let (mut stream, _) = listener.accept()?;
        let mut request = [0; 9];
        stream.read_exact(&mut request)?;
        let count = u64::from_le_bytes(request[1..].try_into().expect("nine less one is eight")) as usize;
        if request[0] == FETCH {
            (0..count).try_for_each(|number| pieces.send(number, &mut stream))?;
        } else {
            let mut buffer = vec![0; PIECE_BYTES];
            (0..count).try_for_each(|_| receive(&mut stream, &mut buffer))?;
            stream.write_all(&[1])?;
        }
    }
}

fn measure(flags: &Flags, direction: u8) -> io::Result<()> {
    let bytes: usize = flags.get("bytes", 1 << 30);
    let count = bytes.div_ceil(PIECE_BYTES);
    // A few pieces, so that they stay in the cache as fresh data would.
    let pieces = Pieces::new(4 * PIECE_BYTES);
    let mut buffer = vec![0; PIECE_BYTES];
    let mut stream = TcpStream::connect(flags.text("addr"))?;
    let mut request = vec![direction];
    request.extend_from_slice(&(count as u64).to_le_bytes());
    let began = Instant::now();
    stream.write_all(&request)?;
    if direction == FETCH {
        (0..count).try_for_each(|_| receive(&mut stream, &mut buffer))?;
    } else {
        (0..count).try_for_each(|number| pieces.send(number, &mut stream))?;
        stream.read_exact(&mut [0])?;
    }
    let seconds = began.elapsed().as_secs_f64();
    let moved = (count * PIECE_BYTES) as f64;
    println!("{{\"bytes\": {moved}, \"seconds\": {seconds:.6}, \"mb_s\": {:.1}}}", moved / 1e6 / seconds);
    Ok(())
}
