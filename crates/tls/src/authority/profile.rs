//! The CA as a configuration profile for iPhones, iPads and Macs (Apple, "Configuration Profile Reference", payload
//! `com.apple.security.root`).

use std::fmt::Write as _;

use data_encoding::BASE64;
use sha2::{Digest as _, Sha256};

use super::AuthorityCertificate;

/// Bytes of Base64 on a line, as Apple's own tools break it.
const LINE: usize = 52;

/// A profile that installs these certificates as trusted roots. The same certificates make the same profile, so that
/// installing it again replaces what is there.
pub fn mobileconfig<'a>(certificates: impl Iterator<Item = &'a AuthorityCertificate>) -> String {
    let mut payloads = String::new();
    let mut all = Sha256::new_with_prefix("profile"); // unlike the UUID of any of its parts
    for certificate in certificates {
        all.update(&certificate.der);
        let id = uuid(&certificate.fingerprint().0);
        let name = escaped(&certificate.subject);
        let _ = write!(
            payloads,
            "\t\t<dict>\n\
             \t\t\t<key>PayloadCertificateFileName</key>\n\t\t\t<string>wardgate.cer</string>\n\
             \t\t\t<key>PayloadContent</key>\n\t\t\t<data>\n{}\t\t\t</data>\n\
             \t\t\t<key>PayloadDescription</key>\n\t\t\t<string>Trusts the school's web filter</string>\n\
             \t\t\t<key>PayloadDisplayName</key>\n\t\t\t<string>{name}</string>\n\
             \t\t\t<key>PayloadIdentifier</key>\n\t\t\t<string>internal.wardgate.ca.{id}</string>\n\
             \t\t\t<key>PayloadType</key>\n\t\t\t<string>com.apple.security.root</string>\n\
             \t\t\t<key>PayloadUUID</key>\n\t\t\t<string>{id}</string>\n\
             \t\t\t<key>PayloadVersion</key>\n\t\t\t<integer>1</integer>\n\
             \t\t</dict>\n",
            in_lines(&certificate.der),
        );
    }
    let id = uuid(&all.finalize());
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n\
         <plist version=\"1.0\">\n\
         <dict>\n\
         \t<key>PayloadContent</key>\n\t<array>\n{payloads}\t</array>\n\
         \t<key>PayloadDescription</key>\n\t<string>Trusts the certificates of the school's web filter.</string>\n\
         \t<key>PayloadDisplayName</key>\n\t<string>Wardgate web filter</string>\n\
         \t<key>PayloadIdentifier</key>\n\t<string>internal.wardgate.ca</string>\n\
         \t<key>PayloadRemovalDisallowed</key>\n\t<false/>\n\
         \t<key>PayloadType</key>\n\t<string>Configuration</string>\n\
         \t<key>PayloadUUID</key>\n\t<string>{id}</string>\n\
         \t<key>PayloadVersion</key>\n\t<integer>1</integer>\n\
         </dict>\n\
         </plist>\n"
    )
}

fn in_lines(der: &[u8]) -> String {
    let text = BASE64.encode(der);
    let lines = text.as_bytes().chunks(LINE);
    lines.map(|line| format!("\t\t\t{}\n", String::from_utf8_lossy(line))).collect()
}

/// An UUID of version 8 (RFC 9562): its bits come from a digest.
fn uuid(digest: &[u8]) -> String {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
