"""NVIDIA GPUs: what there is and which worker gets which.

    device      what is known of a GPU, as plain records
    nvml        reads the devices and samples their use through NVML
    placement   who gets what, and how many workers there are (pure)

Only `nvml` touches the driver.
"""
