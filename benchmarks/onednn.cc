#include "benchmarks/onednn.h"

#include <omp.h>

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "hwy/base.h"
#include "kernels/base/aligned_bytes.h"
#include "kernels/base/matrix.h"
#include "oneapi/dnnl/dnnl.hpp"

namespace ulpscope {
namespace {

using DataType = dnnl::memory::data_type;
using Tag = dnnl::memory::format_tag;

const dnnl::engine& Engine() {
  static const auto* const engine =
      new dnnl::engine(dnnl::engine::kind::cpu, 0);
  return *engine;
}

const char* IsaName() {
  switch (dnnl::get_effective_cpu_isa()) {
    case dnnl::cpu_isa::avx2:
      return "AVX2";
    case dnnl::cpu_isa::avx512_core:
      return "AVX512_CORE";
    case dnnl::cpu_isa::avx512_core_vnni:
      return "AVX512_CORE_VNNI";
    case dnnl::cpu_isa::avx512_core_bf16:
      return "AVX512_CORE_BF16";
    case dnnl::cpu_isa::avx512_core_amx:
      return "AVX512_CORE_AMX";
    default:
      return "another instruction set";
  }
}

template <typename T>
dnnl::memory::desc DescOf(Matrix<T> x, DataType type, Tag tag) {
  return {{static_cast<dnnl::memory::dim>(x.rows),
           static_cast<dnnl::memory::dim>(x.cols)},
          type,
          tag};
}

// A primitive with its arguments. The C interface takes them as they are; the
// C++ one would build them anew for every call.
class Execution {
 public:
  explicit Execution(const dnnl::primitive& primitive)
      : primitive_(primitive), stream_(Engine()) {}

  void AddArgument(int which, const dnnl::memory::desc& desc,
                   const void* data) {
    memories_.emplace_back(desc, Engine(), const_cast<void*>(data));
    arguments_.push_back({which, memories_.back().get()});
  }

  // Weights of which each call takes the next copy; to be added first.
  void AddWeights(const dnnl::memory::desc& desc, AlignedBytes storage) {
    if (weights_.empty()) arguments_.push_back({DNNL_ARG_WEIGHTS, nullptr});
    weights_.emplace_back(desc, Engine(), storage.get());
    storage_.push_back(std::move(storage));
  }

  const dnnl::memory& last_weights() const { return weights_.back(); }

  void Run() {
    if (!weights_.empty()) {
      copy_ = copy_ + 1 < weights_.size() ? copy_ + 1 : 0;
      arguments_[0].memory = weights_[copy_].get();
    }
    // On a CPU, returns when the work is done.
    dnnl_primitive_execute(primitive_.get(), stream_.get(),
                           static_cast<int>(arguments_.size()),
                           arguments_.data());
  }

 private:
  dnnl::primitive primitive_;
  dnnl::stream stream_;
  std::vector<dnnl::memory> memories_;
  std::vector<dnnl::memory> weights_;
  std::vector<AlignedBytes> storage_;
  std::vector<dnnl_exec_arg_t> arguments_;
  size_t copy_ = 0;
};

OneDnnCall CallOf(std::shared_ptr<Execution> execution,
                  const char* implementation) {
  return {[execution = std::move(execution)] { execution->Run(); },
          implementation};
}

absl::Status StatusOf(const dnnl::error& error) {
  return absl::UnimplementedError(absl::StrCat("oneDNN: ", error.what()));
}

template <typename T>
absl::StatusOr<OneDnnCall> MatMulCall(DataType type, Matrix<const T> a,
                                      Matrix<const T> b, Matrix<float> c,
                                      size_t copies) {
  try {
    const Matrix<const T> b_transposed(b.data, b.cols, b.rows);
    const dnnl::matmul::primitive_desc chosen(
        dnnl::matmul::desc(DescOf(a, type, Tag::ab),
                           DescOf(b_transposed, type, Tag::any),
                           DescOf(c, DataType::f32, Tag::ab)),
        Engine());
    auto execution = std::make_shared<Execution>(dnnl::matmul(chosen));
    dnnl::memory stored(DescOf(b_transposed, type, Tag::ba), Engine(),
                        const_cast<T*>(b.data));
    dnnl::stream stream(Engine());
    for (size_t i = 0; i < copies; ++i) {
      const dnnl::memory::desc weights = chosen.weights_desc();
      execution->AddWeights(weights, AllocateAlignedBytes(weights.get_size()));
      dnnl::memory reordered = execution->last_weights();
      dnnl::reorder(stored, reordered).execute(stream, stored, reordered);
    }
    stream.wait();
    execution->AddArgument(DNNL_ARG_SRC, chosen.src_desc(), a.data);
    execution->AddArgument(DNNL_ARG_DST, chosen.dst_desc(), c.data);
    return CallOf(std::move(execution), chosen.impl_info_str());
  } catch (const dnnl::error& error) {
    return StatusOf(error);
  }
}

}  // namespace

std::string OneDnnVersion() {
  const dnnl_version_t* const version = dnnl_version();
  return absl::StrCat("oneDNN ", version->major, ".", version->minor, ".",
                      version->patch, ", ", IsaName());
}

void SetOneDnnThreads(size_t threads) {
  omp_set_num_threads(static_cast<int>(threads));
}

absl::StatusOr<OneDnnCall> OneDnnMatMul(Matrix<const float> a,
                                        Matrix<const float> b, Matrix<float> c,
                                        size_t copies) {
  return MatMulCall(DataType::f32, a, b, c, copies);
}

absl::StatusOr<OneDnnCall> OneDnnMatMul(Matrix<const hwy::bfloat16_t> a,
                                        Matrix<const hwy::bfloat16_t> b,
                                        Matrix<float> c, size_t copies) {
  return MatMulCall(DataType::bf16, a, b, c, copies);
}

absl::StatusOr<OneDnnCall> OneDnnSoftmax(Matrix<const float> x,
                                         Matrix<float> y) {
  try {
    const dnnl::softmax_forward::primitive_desc chosen(
        dnnl::softmax_forward::desc(dnnl::prop_kind::forward_inference,
                                    DescOf(x, DataType::f32, Tag::ab), 1),
        Engine());
    auto execution = std::make_shared<Execution>(dnnl::softmax_forward(chosen));
    execution->AddArgument(DNNL_ARG_SRC, chosen.src_desc(), x.data);
    execution->AddArgument(DNNL_ARG_DST, chosen.dst_desc(), y.data);
    return CallOf(std::move(execution), chosen.impl_info_str());
  } catch (const dnnl::error& error) {
    return StatusOf(error);
  }
}

absl::StatusOr<OneDnnCall> OneDnnLayerNorm(Matrix<const float> x,
                                           const float* scale, float eps,
                                           Matrix<float> y) {
  try {
    const dnnl::layer_normalization_forward::primitive_desc chosen(
        dnnl::layer_normalization_forward::desc(
            dnnl::prop_kind::forward_inference,
            DescOf(x, DataType::f32, Tag::ab), eps,
            dnnl::normalization_flags::use_scale),
        Engine());
    auto execution =
        std::make_shared<Execution>(dnnl::layer_normalization_forward(chosen));
    execution->AddArgument(DNNL_ARG_SRC, chosen.src_desc(), x.data);
    execution->AddArgument(
        DNNL_ARG_SCALE,
        {{static_cast<dnnl::memory::dim>(x.cols)}, DataType::f32, Tag::a},
        scale);
    execution->AddArgument(DNNL_ARG_DST, chosen.dst_desc(), y.data);
    return CallOf(std::move(execution), chosen.impl_info_str());
  } catch (const dnnl::error& error) {
    return StatusOf(error);
  }
}

}  // namespace ulpscope
