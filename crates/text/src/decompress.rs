//! Takes content codings off a body, slice by slice, within a budget.

use brotli::enc::StandardAlloc;
use brotli::{BrotliDecompressStream, BrotliResult, BrotliState, SliceWrapper as _};
use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Decoder as ZstdDecoder, Operation};

use crate::coding::Coding;
use crate::extractor::{Limits, TextError};
use crate::memory::Room;

/// Decoded bytes handed on at a time. Bounds the memory of a layer, whatever its input decodes to.
pub(crate) const SLICE_BYTES: usize = 32 * 1024;

/// Largest window of a zstd body, as a power of two: what a decoder for HTTP must offer, and no more (RFC 9659).
const ZSTD_WINDOW_LOG: u32 = 23;

/// Largest window of gzip and zlib, as a power of two (RFC 1950, section 2.2).
const DEFLATE_WINDOW_LOG: u8 = 15;

/// What the decoder of gzip and zlib holds: its window, and tables.
const INFLATE_BYTES: usize = 48 * 1024;

/// What a zstd decoder holds beside its window: tables, and a block of each side of it.
const ZSTD_BYTES: usize = 256 * 1024;

/// Entries that a brotli decoder keeps for each of its Huffman trees, of four bytes each.
const BROTLI_CODE_BYTES: usize = 4;

/// All codings of a body, outermost first.
pub(crate) struct Decompressor {
    layers: Vec<Layer>,
    budget: Budget,
}

impl Decompressor {
    pub(crate) fn new(codings: &[Coding], limits: Limits) -> Self {
        let layers = codings.iter().map(|coding| Layer::new(*coding)).collect();
        Self { layers, budget: Budget { limits, encoded: 0, burst: 0, room: Room::default() } }
    }

    pub(crate) fn hold_in(&mut self, room: Room) {
        self.budget.room = room;
    }

    /// Decodes the next bytes and hands the result to `sink` in slices of at most [`SLICE_BYTES`].
    pub(crate) fn push(&mut self, bytes: &[u8], sink: &mut dyn FnMut(&[u8])) -> Result<(), TextError> {
        self.budget.burst = 0;
        for piece in bytes.chunks(SLICE_BYTES) {
            self.budget.encoded += piece.len() as u64;
            decode(&mut self.layers, piece, &mut self.budget, sink)?;
        }
        Ok(())
    }

    /// Says that the body has ended; a coding that has not is an error. A body of no bytes at all is whole.
    pub(crate) fn finish(&self) -> Result<(), TextError> {
        if self.layers.iter().all(|layer| layer.is_whole()) {
            return Ok(());
        }
        Err(TextError::Undecodable { reason: "the compressed body is cut short" })
    }
}

/// What a body may still decode to, and hold for it.
struct Budget {
    limits: Limits,
    encoded: u64,
    burst: u64,
    room: Room,
}

impl Budget {
    /// Accounts for a slice that a layer decoded.
    fn spend(&mut self, layer_total: u64, slice: usize) -> Result<(), TextError> {
        self.burst += slice as u64;
        let Limits { decoded_bytes, ratio, ratio_grace_bytes, burst_bytes, .. } = self.limits;
        let absurd =
            layer_total > ratio_grace_bytes && layer_total > self.encoded.saturating_mul(u64::from(ratio));
        if absurd || layer_total > decoded_bytes || self.burst > burst_bytes {
            return Err(TextError::Bomb { encoded: self.encoded, decoded: layer_total });
        }
        Ok(())
    }
}

/// Sends bytes down through the layers. As deep as there are layers, three at most.
fn decode(
    layers: &mut [Layer],
    mut input: &[u8],
    budget: &mut Budget,
    sink: &mut dyn FnMut(&[u8]),
) -> Result<(), TextError> {
    let Some((layer, inner)) = layers.split_first_mut() else {
        sink(input);
        return Ok(());
    };
    layer.begun |= !input.is_empty();
    loop {
        let step = layer.codec.step(input, &mut layer.slice)?;
        input = &input[step.read..];
        layer.decoded += step.written as u64;
        budget.spend(layer.decoded, step.written)?;
        layer.hold_in(&mut budget.room)?;
        decode(inner, &layer.slice[..step.written], budget, sink)?;
        // A full slice may mean that more is waiting inside the codec.
        let waiting = step.written == layer.slice.len();
        if !waiting && (input.is_empty() || (step.read == 0 && step.written == 0)) {
            return Ok(());
        }
    }
}

struct Layer {
    codec: Codec,
    slice: Box<[u8]>,
    decoded: u64,
    begun: bool,
    /// Bytes that the room has been asked for.
    held: usize,
}

impl Layer {
    fn new(coding: Coding) -> Self {
        Self {
            codec: Codec::new(coding),
            slice: vec![0; SLICE_BYTES].into(),
            decoded: 0,
            begun: false,
            held: 0,
        }
    }

    /// Asks for room where the decoder has come to hold more. It is asked after the step: one decoder's window is the
    /// most that a thread can be ahead by.
    fn hold_in(&mut self, room: &mut Room) -> Result<(), TextError> {
        let holds = SLICE_BYTES + self.codec.holds(self.decoded);
        if holds > self.held {
            room.grow(holds - self.held)?;
            self.held = holds;
        }
        Ok(())
    }

    fn is_whole(&self) -> bool {
        !self.begun || self.codec.is_ended()
    }
}

/// How far one step came.
struct Step {
    read: usize,
    written: usize,
}

type Brotli = BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>;

enum Codec {
    Gzip(Gzip),
    /// Before the first byte has told zlib from raw deflate.
    Deflate,
    Inflate {
        state: Decompress,
        ended: bool,
    },
    Brotli {
        state: Box<Brotli>,
        ended: bool,
    },
    Zstd {
        state: ZstdDecoder<'static>,
        ended: bool,
    },
}

impl Codec {
    fn new(coding: Coding) -> Self {
        match coding {
            Coding::Gzip => Self::Gzip(Gzip::new()),
            Coding::Deflate => Self::Deflate,
            Coding::Brotli => Self::Brotli { state: Box::new(strict_brotli()), ended: false },
            Coding::Zstd => Self::Zstd { state: small_zstd(), ended: false },
        }
    }

    fn is_ended(&self) -> bool {
        match self {
            Self::Gzip(gzip) => gzip.is_ended(),
            Self::Deflate => true,
            Self::Inflate { ended, .. } | Self::Brotli { ended, .. } | Self::Zstd { ended, .. } => *ended,
        }
    }

    /// Bytes that the decoder holds once it has decoded so many.
    fn holds(&self, decoded: u64) -> usize {
        match self {
            Self::Deflate => 0,
            Self::Gzip(_) | Self::Inflate { .. } => INFLATE_BYTES,
            Self::Brotli { state, .. } => {
                let codes = [&state.literal_hgroup, &state.insert_copy_hgroup, &state.distance_hgroup]
                    .map(|group| group.codes.slice().len() * BROTLI_CODE_BYTES);
                size_of::<Brotli>() + state.ringbuffer.slice().len() + codes.iter().sum::<usize>()
            }
            // The window lies ready and costs nothing before it is written to.
            Self::Zstd { .. } => ZSTD_BYTES + decoded.min(1 << ZSTD_WINDOW_LOG) as usize,
        }
    }

    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, TextError> {
        match self {
            Self::Gzip(gzip) => gzip.step(input, output),
            Self::Deflate => {
                let Some(first) = input.first() else { return Ok(Step { read: 0, written: 0 }) };
                let state = Decompress::new_with_window_bits(is_zlib_header(*first), DEFLATE_WINDOW_LOG);
                *self = Self::Inflate { state, ended: false };
                self.step(input, output)
            }
            // What follows the end of the stream is ignored, as browsers do.
            Self::Inflate { ended: true, .. } | Self::Brotli { ended: true, .. } => {
                Ok(Step { read: input.len(), written: 0 })
            }
            Self::Inflate { state, ended } => {
                let (step, stream_ended) = inflate(state, input, output)?;
                *ended = stream_ended;
                Ok(step)
            }
            Self::Brotli { state, ended } => unbrotli(state, ended, input, output),
            Self::Zstd { state, ended } => unzstd(state, ended, input, output),
        }
    }
}

/// The first byte of a zlib stream names method 8 and a window of at most 32 KiB (RFC 1950, section 2.2). `deflate`
/// means zlib, but servers send raw deflate too, and no encoder begins that with such a byte.
fn is_zlib_header(first: u8) -> bool {
    first & 0x0F == 8 && first >> 4 <= 7
}

fn inflate(state: &mut Decompress, input: &[u8], output: &mut [u8]) -> Result<(Step, bool), TextError> {
    let (read, written) = (state.total_in(), state.total_out());
    let result = state.decompress(input, output, FlushDecompress::None);
    let step =
        Step { read: (state.total_in() - read) as usize, written: (state.total_out() - written) as usize };
    match result {
        Ok(status) => Ok((step, status == Status::StreamEnd)),
        // What came out before the data broke counts; the next step finds it broken with nothing to show.
        Err(_) if step.written > 0 => Ok((step, false)),
        Err(_) => Err(TextError::Undecodable { reason: "the gzip or deflate data is broken" }),
    }
}

/// Gzip, member by member. A member after the first is read where it is sound; whatever else follows the first one
/// is ignored, as browsers do.
enum Gzip {
    Member { state: Decompress, first: bool },
    BetweenMembers,
    IgnoringRest,
}

impl Gzip {
    fn new() -> Self {
        Self::Member { state: Decompress::new_gzip(DEFLATE_WINDOW_LOG), first: true }
    }

    fn is_ended(&self) -> bool {
        !matches!(self, Self::Member { first: true, .. })
    }

    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, TextError> {
        match self {
            Self::Member { state, first } => match inflate(state, input, output) {
                Ok((step, ended)) => {
                    if ended {
                        *self = Self::BetweenMembers;
                    }
                    Ok(step)
                }
                Err(error) if *first => Err(error),
                Err(_) => {
                    *self = Self::IgnoringRest;
                    Ok(Step { read: input.len(), written: 0 })
                }
            },
            Self::BetweenMembers if input.is_empty() => Ok(Step { read: 0, written: 0 }),
            Self::BetweenMembers => {
                *self = Self::Member { state: Decompress::new_gzip(DEFLATE_WINDOW_LOG), first: false };
                self.step(input, output)
            }
            Self::IgnoringRest => Ok(Step { read: input.len(), written: 0 }),
        }
    }
}

/// A decoder without the "large window" extension, which no browser accepts and which asks for up to 1 GiB.
fn strict_brotli() -> Brotli {
    BrotliState::new_strict(StandardAlloc::default(), StandardAlloc::default(), StandardAlloc::default())
}

fn unbrotli(
    state: &mut Brotli,
    ended: &mut bool,
    input: &[u8],
    output: &mut [u8],
) -> Result<Step, TextError> {
    let (mut available_in, mut read) = (input.len(), 0);
    let (mut available_out, mut written, mut total) = (output.len(), 0, 0);
    let result = BrotliDecompressStream(
        &mut available_in,
        &mut read,
        input,
        &mut available_out,
        &mut written,
        output,
        &mut total,
        state,
    );
    match result {
        BrotliResult::ResultFailure => Err(TextError::Undecodable { reason: "the brotli data is broken" }),
        BrotliResult::ResultSuccess => {
            *ended = true;
            Ok(Step { read, written })
        }
        BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => Ok(Step { read, written }),
    }
}

fn small_zstd() -> ZstdDecoder<'static> {
    let mut decoder = ZstdDecoder::new().expect("an empty dictionary is always accepted");
    decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG)).expect("23 lies within zstd's bounds");
    decoder
}

fn unzstd(
    state: &mut ZstdDecoder<'static>,
    ended: &mut bool,
    input: &[u8],
    output: &mut [u8],
) -> Result<Step, TextError> {
    // At the end of a frame, without input, zstd would already ask for the next frame's header.
    if *ended && input.is_empty() {
        return Ok(Step { read: 0, written: 0 });
    }
    let status = state
        .run_on_buffers(input, output)
        .map_err(|_| TextError::Undecodable { reason: "the zstd data is broken" })?;
    *ended = status.remaining == 0;
    Ok(Step { read: status.bytes_read, written: status.bytes_written })
}
