//! Access control: who makes a request, what they may do, and who is kept out.

mod address;
mod authorize;
mod basic;
mod bypass;
mod cors;
mod csrf;
mod forward;
mod headers;
mod jwt;
mod keys;
mod listeners;
mod mtls;
mod provider;
mod redis_consumers;
mod secrets;

/// The digest of an API key, as the configuration has it.
fn digest(key: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.as_bytes());
    let hex: String = digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{hex}")
}
