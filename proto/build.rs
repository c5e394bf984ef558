//! Compiles the gRPC definitions with a pure-Rust compiler, so that no system `protoc` is needed.

#[expect(clippy::disallowed_methods, reason = "a build script writes where cargo tells it to")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(["highwater/v1/log.proto", "highwater/v1/admin.proto"], ["proto"])?;
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), prost::Message::encode_to_vec(&descriptors))?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}
