/**
 * Seeded random numbers, a stream of its own for each chain.
 *
 * The generator is xoshiro128** of Blackman and Vigna (2021), "Scrambled linear
 * pseudorandom number generators", ACM Transactions on Mathematical Software 47(4). It is
 * linear over bits, so that it can jump: a stream starts 2^64 numbers after the one before.
 */

/** Bits of the polynomial by which the generator jumps 2^64 numbers ahead (same paper). */
const JUMP = [0x8764000b, 0xf542d2d3, 0x6fa035c3, 0x77f2db5b];
const MAX_STREAM = 1000;

export class Random {
  /**
   * @param {number} seed - A whole number from 0 to 2^53 - 1.
   * @param {number} stream - Which stream of this seed, from 0; one for each chain.
   */
  constructor(seed, stream = 0) {
    if (!Number.isSafeInteger(seed) || seed < 0) {
      throw new RangeError(`seed must be a whole number from 0 to 2^53 - 1, got ${seed}`);
    }
    if (!Number.isSafeInteger(stream) || stream < 0 || stream > MAX_STREAM) {
      throw new RangeError(`stream must be a whole number from 0 to ${MAX_STREAM}, got ${stream}`);
    }
    this.state = spread(seed);
    this.spare = NaN; // the second of a pair of normal numbers
    for (let i = 0; i < stream; i++) this.jump();
  }

  /** @returns {number} A whole number from 0 to 2^32 - 1, all equally likely. */
  bits() {
    const s = this.state;
    const scrambled = Math.imul(rotate(Math.imul(s[1], 5), 7), 9) >>> 0;
    const shifted = s[1] << 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate(s[3], 11);
    return scrambled;
  }

  /** @returns {number} A multiple of 2^-53 from 0 to 1, 1 excluded, all equally likely. */
  uniform() {
    const high = this.bits() >>> 5;
    return (high * 2 ** 26 + (this.bits() >>> 6)) / 2 ** 53;
  }

  /** @returns {number} A standard normal number: Box and Muller (1958), two at a time. */
  normal() {
    if (!Number.isNaN(this.spare)) {
      const spare = this.spare;
      this.spare = NaN;
      return spare;
    }
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
    const angle = 2 * Math.PI * this.uniform();
    this.spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  }

  /** Go 2^64 numbers ahead: the states at the powers that JUMP names, added up bit by bit. */
  jump() {
    const sum = new Int32Array(4);
    for (const word of JUMP) {
      for (let bit = 0; bit < 32; bit++) {
        if ((word >>> bit) & 1) sum.forEach((_, i) => (sum[i] ^= this.state[i]));
        this.bits();
      }
    }
    this.state = sum;
  }
}

function rotate(word, by) {
  return (word << by) | (word >>> (32 - by));
}

/**
 * Make a state of 128 bits from a seed with SplitMix64 (Steele, Lea and Flood 2014, OOPSLA),
 * so that seeds that are close give states that are not.
 */
function spread(seed) {
  const state = new Int32Array(4);
  let counter = BigInt(seed);
  for (let i = 0; i < 4; i += 2) {
    counter = BigInt.asUintN(64, counter + 0x9e3779b97f4a7c15n);
    let z = counter;
    z = BigInt.asUintN(64, (z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n);
    z = BigInt.asUintN(64, (z ^ (z >> 27n)) * 0x94d049bb133111ebn);
    z ^= z >> 31n;
    state[i] = Number(BigInt.asIntN(32, z));
    state[i + 1] = Number(BigInt.asIntN(32, z >> 32n));
  }
  return state;
}
