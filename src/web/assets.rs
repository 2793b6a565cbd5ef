//! Style, script and icon of the page, embedded in the program.
//!
//! Never changes under one address: the address holds a digest of the content, so that browsers keep it.

use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// One file.
pub(super) struct Asset {
    name: &'static str,
    media: &'static str,
    content: &'static str,
    digest: u64,
}

pub(super) const STYLE: Asset = Asset::new("style.css", "text/css; charset=utf-8", include_str!("assets/style.css"));
pub(super) const SCRIPT: Asset =
    Asset::new("page.js", "text/javascript; charset=utf-8", include_str!("assets/page.js"));
pub(super) const ICON: Asset = Asset::new("icon.svg", "image/svg+xml", include_str!("assets/icon.svg"));

impl Asset {
    const fn new(name: &'static str, media: &'static str, content: &'static str) -> Self {
        Self { name, media, content, digest: digest(content.as_bytes()) }
    }

    /// Its address.
    pub(super) fn url(&self) -> String {
        format!("/assets/{:016x}/{}", self.digest, self.name)
    }
}

/// FNV-1a: tells versions apart, protects nothing.
const fn digest(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    hash
}

/// `GET /assets/{digest}/{name}`. An older digest gets the file of now, which nobody keeps.
pub(super) async fn serve(Path((digest, name)): Path<(String, String)>) -> Response {
    let Some(asset) = [STYLE, SCRIPT, ICON].into_iter().find(|asset| asset.name == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let current = digest == format!("{:016x}", asset.digest);
    let caching = if current { "public, max-age=31536000, immutable" } else { "no-store" };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(asset.media)),
        (header::CACHE_CONTROL, HeaderValue::from_static(caching)),
    ];
    (headers, asset.content).into_response()
}
