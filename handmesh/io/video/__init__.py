"""Moving pictures: cameras, clips and folders of photos as frames with their times, and clips written."""
