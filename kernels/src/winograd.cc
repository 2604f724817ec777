// 3x3 convolution and its kernel gradient on a CPU, by Winograd's algorithm F(4x4, 3x3).
//
// The arithmetic is that of consingan_jax/nn/winograd.py: patches of 6x6 inputs, overlapping by 2,
// are transformed, multiplied by the transformed kernel with one matrix product for each of their
// 36 entries, and transformed back to 4x4 outputs. Here a few patches at a time go through all
// steps, so that what lies between two steps stays in the cache.
//
// Images are NHWC; the numbers of channels must be multiples of kLanes. Results do not depend on
// the number of threads.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
constexpr int kVectors = 4;  // of outputs that a product keeps in registers
#else
constexpr int kLanes = 8;
constexpr int kVectors = 2;
#endif
constexpr int kTile = 4, kPatch = 6, kEntries = kPatch * kPatch;
constexpr int kRows = 6;      // of a product that are kept in registers
constexpr int kGradRows = 4;  // likewise of a kernel gradient's
constexpr int kBlock = 24;    // patches that go through all steps together; a multiple of kRows
constexpr int kGradBlock = 48;  // likewise of a kernel gradient
constexpr int kGap = 16;      // floats between the patches of two entries, which else share cache sets
constexpr int kChunk = 48;    // patches at least, of which a kernel gradient has a sum of its own
constexpr int kMaxChunks = 8;
constexpr int kPart = 8;  // channels of a kernel that one thread transforms at a time

typedef float Vec __attribute__((vector_size(kLanes * sizeof(float)), aligned(4), may_alias));

// For the points 0, 1, -1, 1/2, -2 and infinity.
constexpr float kInputs[kPatch][kPatch] = {
    {1, -1.5, -2, 1.5, 1, 0}, {0, -1, .5, 2.5, 1, 0},  {0, 1, -2.5, .5, 1, 0},
    {0, -2, -1, 2, 1, 0},     {0, .5, -1, -.5, 1, 0},  {0, 1, -1.5, -2, 1.5, 1}};
constexpr float kKernel[kPatch][3] = {
    {1, 0, 0},
    {1 / 3.f, 1 / 3.f, 1 / 3.f},
    {-1 / 3.f, 1 / 3.f, -1 / 3.f},
    {-16 / 15.f, -8 / 15.f, -4 / 15.f},
    {1 / 15.f, -2 / 15.f, 4 / 15.f},
    {0, 0, 1}};
constexpr float kOutputs[kTile][kPatch] = {
    {1, 1, 1, 1, 1, 0}, {0, 1, -1, .5, -2, 0}, {0, 1, 1, .25, 4, 0}, {0, 1, -1, .125, -8, 1}};

template <int R, int C>
struct Matrix {
  float rows[R][C];
};

template <int R, int C>
constexpr Matrix<C, R> Transposed(const float (&m)[R][C]) {
  Matrix<C, R> result{};
  for (int i = 0; i < R; ++i) {
    for (int j = 0; j < C; ++j) result.rows[j][i] = m[i][j];
  }
  return result;
}

constexpr auto kKernelTransposed = Transposed(kKernel);
constexpr auto kOutputsTransposed = Transposed(kOutputs);

inline Vec Load(const float* p) { return *reinterpret_cast<const Vec*>(p); }
inline void Store(float* p, Vec x) { *reinterpret_cast<Vec*>(p) = x; }

// Returns the sum of row[k] * x[k * stride]; zeros of the row cost nothing once it is unrolled.
template <int N>
inline __attribute__((always_inline)) Vec Combine(const float (&row)[N], const Vec* x, int stride) {
  Vec sum{};
#pragma GCC unroll 6
  for (int k = 0; k < N; ++k) {
    if (row[k] != 0) sum += row[k] * x[k * stride];
  }
  return sum;
}

// Calls work(0) .. work(count - 1) on the threads of the pool and on this one.
template <typename Work>
void Parallel(ffi::ThreadPool& pool, int64_t count, const Work& work) {
  struct State {
    std::atomic<int64_t> next{0}, done{0};
  };
  auto state = std::make_shared<State>();
  auto run = [state, count, &work] {
    for (int64_t i; (i = state->next.fetch_add(1)) < count;) {
      work(i);
      if (state->done.fetch_add(1) + 1 == count) state->done.notify_all();
    }
  };
  // Nobody waits for a helper that has not started: the pool may be busy with calls that wait. One
  // that starts too late finds nothing to do.
  int64_t helpers = std::min<int64_t>(pool.num_threads(), count) - 1;
  for (int64_t i = 0; i < helpers; ++i) pool.Schedule(std::function<void()>(run));
  run();
  for (int64_t done; (done = state->done.load()) < count;) state->done.wait(done);
}

float* Scratch(int which, size_t size) {
  thread_local std::vector<float> kept[3];
  if (kept[which].size() < size) kept[which].resize(size);
  return kept[which].data();
}

// The sizes of a convolution, and the place of its patches.
struct Shape {
  int64_t images, height, width, channels, out_height, out_width, features, border;
  int64_t Down() const { return (out_height + kTile - 1) / kTile; }
  int64_t Across() const { return (out_width + kTile - 1) / kTile; }
  int64_t Patches() const { return images * Down() * Across(); }
};

struct Place {
  int64_t image, row, column;  // of the first output
  int64_t down, across;        // numbers of outputs
  Place(const Shape& s, int64_t patch)
      : image(patch / (s.Down() * s.Across())),
        row(patch / s.Across() % s.Down() * kTile),
        column(patch % s.Across() * kTile),
        down(std::min<int64_t>(kTile, s.out_height - row)),
        across(std::min<int64_t>(kTile, s.out_width - column)) {}
  bool IsWhole() const { return down == kTile && across == kTile; }
  // Returns where that output is in an array.
  int64_t Output(const Shape& s) const {
    return ((image * s.out_height + row) * s.out_width + column) * s.features;
  }
};

// Transforms one patch, whose top left pixel is (top, left). If it is kInside the image, it has no
// pixels that are zero for lying outside.
template <bool kInside>
void TransformInput(const Shape& s, const float* image, int64_t top, int64_t left, float* v,
                    int64_t step) {
  for (int64_t c = 0; c < s.channels; c += kLanes) {
    Vec half[kEntries];
    for (int j = 0; j < kPatch; ++j) {
      Vec column[kPatch];
#pragma GCC unroll 6
      for (int i = 0; i < kPatch; ++i) {
        int64_t row = top + i, at = left + j;
        bool inside = kInside || (row >= 0 && row < s.height && at >= 0 && at < s.width);
        column[i] = inside ? Load(image + (row * s.width + at) * s.channels + c) : Vec{};
      }
#pragma GCC unroll 6
      for (int i = 0; i < kPatch; ++i) half[i * kPatch + j] = Combine(kInputs[i], column, 1);
    }
    for (int i = 0; i < kPatch; ++i) {
#pragma GCC unroll 6
      for (int j = 0; j < kPatch; ++j) {
        Store(v + (i * kPatch + j) * step + c, Combine(kInputs[j], half + i * kPatch, 1));
      }
    }
  }
}

// Transforms patches first .. first + count - 1 of x to v. Entry e of patch t, which has as many
// floats as x has channels, is at v + e * step + t * channels.
void TransformInputs(const Shape& s, const float* x, int64_t first, int64_t count, float* v,
                     int64_t step) {
  for (int64_t t = 0; t < count; ++t) {
    Place at(s, first + t);
    int64_t top = at.row - s.border, left = at.column - s.border;
    bool inside = top >= 0 && left >= 0 && top + kPatch <= s.height && left + kPatch <= s.width;
    const float* image = x + at.image * s.height * s.width * s.channels;
    (inside ? TransformInput<true> : TransformInput<false>)(s, image, top, left,
                                                            v + t * s.channels, step);
  }
}

// Transforms the products m of one patch back to down x across outputs at y.
template <bool kWhole>
void TransformOutput(const Shape& s, const float* m, int64_t step, int64_t down, int64_t across,
                     float* y) {
  for (int64_t q = 0; q < s.features; q += kLanes) {
    Vec half[kTile * kPatch];
    for (int j = 0; j < kPatch; ++j) {
      Vec column[kPatch];
#pragma GCC unroll 6
      for (int i = 0; i < kPatch; ++i) column[i] = Load(m + (i * kPatch + j) * step + q);
#pragma GCC unroll 4
      for (int i = 0; i < kTile; ++i) half[i * kPatch + j] = Combine(kOutputs[i], column, 1);
    }
    for (int i = 0; i < (kWhole ? kTile : down); ++i) {
#pragma GCC unroll 4
      for (int j = 0; j < kTile; ++j) {
        Vec value = Combine(kOutputs[j], half + i * kPatch, 1);
        if (kWhole || j < across) Store(y + (i * s.out_width + j) * s.features + q, value);
      }
    }
  }
}

// Transforms down x across outputs' cotangents at g, as the transpose of `TransformOutput`.
template <bool kWhole>
void TransformCotangent(const Shape& s, const float* g, int64_t down, int64_t across, float* z,
                        int64_t step) {
  for (int64_t q = 0; q < s.features; q += kLanes) {
    Vec half[kPatch * kTile];
    for (int j = 0; j < kTile; ++j) {
      Vec column[kTile];
#pragma GCC unroll 4
      for (int i = 0; i < kTile; ++i) {
        bool inside = kWhole || (i < down && j < across);
        column[i] = inside ? Load(g + (i * s.out_width + j) * s.features + q) : Vec{};
      }
#pragma GCC unroll 6
      for (int i = 0; i < kPatch; ++i) {
        half[i * kTile + j] = Combine(kOutputsTransposed.rows[i], column, 1);
      }
    }
    for (int i = 0; i < kPatch; ++i) {
#pragma GCC unroll 6
      for (int j = 0; j < kPatch; ++j) {
        Store(z + (i * kPatch + j) * step + q, Combine(kOutputsTransposed.rows[j], half + i * kTile, 1));
      }
    }
  }
}

// Keeps a value in a register, where the compiler would read it from memory for every use.
inline Vec Held(Vec x) {
#if defined(__x86_64__)
  asm("" : "+v"(x));
#endif
  return x;
}

// Adds a[rows, depth] @ b[depth, vectors] to sum, where a[r, k] is at a + r * a_row + k * a_step.
template <int R, int V>
inline __attribute__((always_inline)) void Multiply(const float* a, int64_t a_row, int64_t a_step,
                                                    const float* b, int64_t b_step, int64_t depth,
                                                    Vec (&sum)[R][V]) {
  for (int64_t k = 0; k < depth; ++k) {
    Vec right[V];
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) right[v] = Held(Load(b + k * b_step + v * kLanes));
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const Vec left = a[r * a_row + k * a_step] - Vec{};
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) sum[r][v] += left * right[v];
    }
  }
}

// c[rows, vectors] = a[rows, depth] @ b[depth, vectors]
template <int R, int V>
inline void Product(const float* a, int64_t a_step, const float* b, int64_t b_step, float* c,
                    int64_t c_step, int64_t depth) {
  Vec sum[R][V] = {};
  Multiply<R, V>(a, a_step, 1, b, b_step, depth, sum);
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) Store(c + r * c_step + v * kLanes, sum[r][v]);
  }
}

// c[rows, vectors] = a[depth, rows] transposed @ b[depth, vectors], or += if it adds
template <int R, int V>
inline void AddProduct(const float* a, int64_t a_step, const float* b, int64_t b_step, float* c,
                       int64_t c_step, int64_t depth, bool adds) {
  Vec sum[R][V] = {};
  Multiply<R, V>(a, 1, a_step, b, b_step, depth, sum);
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) {
      float* at = c + r * c_step + v * kLanes;
      Store(at, adds ? Load(at) + sum[r][v] : sum[r][v]);
    }
  }
}

void Convolve(ffi::ThreadPool& pool, const Shape& s, const float* x, const float* kernel,
              float* y) {
  const int64_t c = s.channels, o = s.features, all = s.Patches();
  const int64_t v_step = kBlock * c + kGap, m_step = kBlock * o + kGap;
  const int64_t tap_step = c * o + kGap;
  float* taps = Scratch(0, kEntries * tap_step);
  Parallel(pool, c / kPart, [&](int64_t part) {
    for (int64_t p = part * kPart * o; p < (part + 1) * kPart * o; p += kLanes) {
      Vec k[9], half[kPatch * 3];
      for (int i = 0; i < 9; ++i) k[i] = Load(kernel + i * c * o + p);
#pragma GCC unroll 6
      for (int i = 0; i < kPatch; ++i) {
        for (int j = 0; j < 3; ++j) half[i * 3 + j] = Combine(kKernel[i], k + j, 3);
      }
      for (int i = 0; i < kPatch; ++i) {
#pragma GCC unroll 6
        for (int j = 0; j < kPatch; ++j) {
          Store(taps + (i * kPatch + j) * tap_step + p, Combine(kKernel[j], half + i * 3, 1));
        }
      }
    }
  });
  Parallel(pool, (all + kBlock - 1) / kBlock, [&](int64_t block) {
    int64_t first = block * kBlock, count = std::min<int64_t>(kBlock, all - first);
    float* v = Scratch(1, kEntries * v_step);
    float* m = Scratch(2, kEntries * m_step);
    TransformInputs(s, x, first, count, v, v_step);
    for (int e = 0; e < kEntries; ++e) {
      const float *a = v + e * v_step, *b = taps + e * tap_step;
      for (int64_t t = 0; t < count; t += kRows) {
        float* out = m + e * m_step + t * o;
        int64_t q = 0;
        for (; q + kVectors * kLanes <= o; q += kVectors * kLanes) {
          Product<kRows, kVectors>(a + t * c, c, b + q, o, out + q, o, c);
        }
        for (; q < o; q += kLanes) Product<kRows, 1>(a + t * c, c, b + q, o, out + q, o, c);
      }
    }
    for (int64_t t = 0; t < count; ++t) {
      Place at(s, first + t);
      (at.IsWhole() ? TransformOutput<true> : TransformOutput<false>)(
          s, m + t * o, m_step, at.down, at.across, y + at.Output(s));
    }
  });
}

void KernelGradient(ffi::ThreadPool& pool, const Shape& s, const float* x, const float* g,
                    float* gradient) {
  const int64_t c = s.channels, o = s.features, all = s.Patches();
  const int64_t v_step = kGradBlock * c + kGap, z_step = kGradBlock * o + kGap;
  const int64_t tap_step = c * o + kGap, size = kEntries * tap_step;
  // Each chunk has its own sum, and the sums are added in order.
  int64_t chunks = std::clamp<int64_t>(all / kChunk, 1, kMaxChunks);
  float* sums = Scratch(0, chunks * size);
  Parallel(pool, chunks, [&](int64_t chunk) {
    float* sum = sums + chunk * size;
    float* v = Scratch(1, kEntries * v_step);
    float* z = Scratch(2, kEntries * z_step);
    const int64_t begin = all * chunk / chunks, end = all * (chunk + 1) / chunks;
    for (int64_t first = begin; first < end; first += kGradBlock) {
      int64_t count = std::min<int64_t>(kGradBlock, end - first);
      TransformInputs(s, x, first, count, v, v_step);
      for (int64_t t = 0; t < count; ++t) {
        Place at(s, first + t);
        (at.IsWhole() ? TransformCotangent<true> : TransformCotangent<false>)(
            s, g + at.Output(s), at.down, at.across, z + t * o, z_step);
      }
      for (int e = 0; e < kEntries; ++e) {
        const float *a = v + e * v_step, *b = z + e * z_step;
        for (int64_t p = 0; p < c; p += kGradRows) {
          float* out = sum + e * tap_step + p * o;
          int64_t q = 0;
          for (; q + kVectors * kLanes <= o; q += kVectors * kLanes) {
            AddProduct<kGradRows, kVectors>(a + p, c, b + q, o, out + q, o, count, first > begin);
          }
          for (; q < o; q += kLanes) {
            AddProduct<kGradRows, 1>(a + p, c, b + q, o, out + q, o, count, first > begin);
          }
        }
      }
    }
  });
  Parallel(pool, c / kPart, [&](int64_t part) {
    for (int64_t p = part * kPart * o; p < (part + 1) * kPart * o; p += kLanes) {
      Vec d[kEntries], half[3 * kPatch];
      for (int e = 0; e < kEntries; ++e) {
        d[e] = Load(sums + e * tap_step + p);
        for (int64_t k = 1; k < chunks; ++k) d[e] += Load(sums + k * size + e * tap_step + p);
      }
#pragma GCC unroll 3
      for (int i = 0; i < 3; ++i) {
        for (int j = 0; j < kPatch; ++j) {
          half[i * kPatch + j] = Combine(kKernelTransposed.rows[i], d + j, kPatch);
        }
      }
      for (int i = 0; i < 3; ++i) {
#pragma GCC unroll 3
        for (int j = 0; j < 3; ++j) {
          Store(gradient + (i * 3 + j) * c * o + p,
                Combine(kKernelTransposed.rows[j], half + i * kPatch, 1));
        }
      }
    }
  });
}

using Array = ffi::Buffer<ffi::F32, 4>;
using Sizes = ffi::Span<const int64_t>;
using Compute = void (*)(ffi::ThreadPool&, const Shape&, const float*, const float*, float*);

// Computes `made` of x and y, where `out` are the sizes of the convolution's outputs.
ffi::Error Run(Compute compute, ffi::ThreadPool& pool, Array x, Array y, Sizes out, Array made,
               int64_t border) {
  Sizes in = x.dimensions();
  Shape s{in[0], in[1], in[2], in[3], out[1], out[2], out[3], border};
  if (s.channels % kLanes || s.features % kLanes) {
    return ffi::Error::InvalidArgument("the numbers of channels must be multiples of the lanes");
  }
  compute(pool, s, x.typed_data(), y.typed_data(), made.typed_data());
  return ffi::Error::Success();
}

ffi::Error ConvolutionImpl(ffi::ThreadPool pool, Array x, Array kernel, ffi::Result<Array> y,
                           int64_t border) {
  return Run(Convolve, pool, x, kernel, y->dimensions(), *y, border);
}

ffi::Error KernelGradientImpl(ffi::ThreadPool pool, Array x, Array g, ffi::Result<Array> gradient,
                              int64_t border) {
  return Run(KernelGradient, pool, x, g, g.dimensions(), *gradient, border);
}

auto Binding() {
  return ffi::Ffi::Bind()
      .Ctx<ffi::ThreadPool>()
      .Arg<Array>()
      .Arg<Array>()
      .Ret<Array>()
      .Attr<int64_t>("border");
}

}  // namespace

extern "C" int consingan_lanes() { return kLanes; }

XLA_FFI_DEFINE_HANDLER_SYMBOL(consingan_convolution, ConvolutionImpl, Binding());
XLA_FFI_DEFINE_HANDLER_SYMBOL(consingan_kernel_gradient, KernelGradientImpl, Binding());
