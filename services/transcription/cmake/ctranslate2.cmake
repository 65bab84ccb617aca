# Read by CMake at the end of CTranslate2's project() command. Whisper begins with two convolutions. CTranslate2 can compute them by
# oneDNN's convolution, which is most of that library, or by a product of matrices; it is the product here.

function(convolve_by_gemm)
    set_source_files_properties(src/ops/conv1d_cpu.cc PROPERTIES COMPILE_OPTIONS -UCT2_WITH_DNNL)
endfunction()

cmake_language(DEFER CALL convolve_by_gemm)
